"""Decoding in a child process that may hang, crash or swell: the caller gets an image or a reason, and goes on.

A file gets a child of its own. Where many files are read in a row, a `Decoder` lends one child to FILES of them, since
the fork and its page faults cost as much processor time as the decoding (some 13 ms here); a file that fails there is
tried once more in a child of its own, so that none is refused for what an earlier one did.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import hashlib
import os
import signal
import threading
from typing import Self

from kdlight.contracts.image import Image
from kdlight.images.errors import ERRORS, CrashError, ImageError, TimeLimitError
from kdlight.images.limits import LIMITS, Limits
from kdlight.processes import (
    ChannelClosedError,
    ChannelSilentError,
    Failure,
    MessageError,
    MessageLimits,
    describe_exit,
)
from kdlight.processes.forks import Fork, ForkServer

DECODE = "kdlight.images.decode:decode"
FILES = 32
"""Files that one child of a Decoder may decode. The choice is ours."""
_START_SECONDS = 60.0
"""What the owner waits beyond the time limit: the fork server's first start."""
_HEADER_BYTES = 1 << 20
_DTYPES = ("float32", "uint8")


class Sandbox(ForkServer):
    """Decodes files in processes that may die. Safe to call from several threads; forks start one of their own."""

    def __init__(self, target: str = DECODE, limits: Limits = LIMITS) -> None:
        super().__init__("kdlight.images.helper", target, str(limits.memory), str(limits.seconds))
        self.limits = limits
        self.turns = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))
        self._message_limits = MessageLimits(_HEADER_BYTES, 4 * limits.pixels + _HEADER_BYTES)

    def decode(self, data: bytes, frame: int = 0) -> Image:
        """One frame of a file. Raises ImageError with the reason; whatever the child does, the caller goes on."""
        with Decoder(self) as decoder:
            return decoder.decode(data, frame)

    def child(self) -> Fork:
        """A fresh one. Raises CrashError where none can be had."""
        try:
            return self.fork(self.limits.seconds + _START_SECONDS, self._message_limits)
        except OSError:
            raise CrashError("The decoding process cannot be started on this machine.") from None

    def converse(self, child: Fork, data: bytes, frame: int) -> Image:
        """Ask a child for one file. Raises ImageError with the reason."""
        try:
            with contextlib.suppress(ChannelClosedError):  # it may have refused and ended before it read all
                child.channel.send("request", {"frame": frame, "data": data})
            answer = child.channel.receive()
            if answer.kind == "error":
                failure = answer.parse(Failure)
                raise ERRORS.get(failure.name, ImageError)(failure.message)
            image = answer.parse(Image)
            if any(a is not None and a.dtype not in _DTYPES for a in (image.pixels, image.voi_lut)):
                raise MessageError("The arrays of an image are float32 or uint8.")
        except MessageError:
            raise CrashError(
                "The decoding process gave an answer that makes no sense. Try again with another file."
            ) from None
        except ChannelSilentError:
            self.close()
            raise TimeLimitError("Decoding gave no answer and was stopped. Try again.") from None
        except ChannelClosedError:
            raise self._death(child.exit_code()) from None
        return dataclasses.replace(image, sha256=hashlib.sha256(data).hexdigest())

    def forget(self) -> None:
        super().forget()
        self.turns = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))

    def _death(self, code: int | None) -> ImageError:
        """The reason why a child ended without an answer."""
        if code is None:
            return CrashError("The decoding process was ended from outside. Try again.")
        if -code in (signal.SIGALRM, signal.SIGXCPU):
            return TimeLimitError(f"Decoding took longer than {self.limits.seconds:g} s and was stopped.")
        return CrashError(f"The decoder crashed on this file ({describe_exit(code)}); nothing else was harmed.")


class Decoder:
    """Decodes one file after the other, FILES of them in one child. Belongs to one thread at a time."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._child: Fork | None = None
        self._files = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decode(self, data: bytes, frame: int = 0) -> Image:
        """As `Sandbox.decode`. A refusal is always that of a child which decoded nothing else."""
        with self._sandbox.turns:
            reused = self._child is not None
            try:
                return self._ask(data, frame)
            except ImageError as error:
                self.close()
                if not reused or isinstance(error, TimeLimitError):
                    raise
                return self._ask(data, frame)

    def _ask(self, data: bytes, frame: int) -> Image:
        if self._child is None:
            self._child, self._files = self._sandbox.child(), 0
        image = self._sandbox.converse(self._child, data, frame)
        self._files += 1
        if self._files >= FILES:
            self.close()
        return image

    def close(self) -> None:
        """Let the child end; the next file gets a fresh one."""
        if self._child is not None:
            self._child.close()
            self._child = None


SANDBOX = Sandbox()
atexit.register(SANDBOX.close)
os.register_at_fork(after_in_child=SANDBOX.forget)
