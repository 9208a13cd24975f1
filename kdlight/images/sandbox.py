"""Decoding in a child process that may hang, crash, swell or be taken over: the caller gets an image or a reason.

The child can do nothing but decode (see `kdlight.processes.confine`), and what it answers is checked like the word of a
stranger: form, sizes and counts before memory is taken, then that it is an image as it was asked for.

A file gets a child of its own. Where many files are read in a row, a `Decoder` lends one child to FILES of them, since
the fork and its page faults cost as much processor time as the decoding (some 13 ms here); a file that fails there is
tried once more in a child of its own, so that none is refused for what an earlier one did.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import hashlib
import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from kdlight.contracts.image import Image
from kdlight.images.errors import ERRORS, CrashError, ImageError, TimeLimitError
from kdlight.images.limits import LIMITS, Limits
from kdlight.images.turns import NOBODY, Turns
from kdlight.processes import (
    ChannelClosedError,
    ChannelSilentError,
    Failure,
    MessageError,
    MessageLimits,
    describe_exit,
)
from kdlight.processes.confine import Guard
from kdlight.processes.forks import Fork, ForkServer

DECODE = "kdlight.images.decode:decode"
FILES, SET_FILES = 32, 256
"""Files that one child of a Decoder may decode, and one that is lent for a person's own set. The choice is ours."""
_START_SECONDS = 60.0
"""What the fork server's first start may take."""
_GRACE_SECONDS = 10.0
"""What the owner waits beyond the time limit, at which the kernel ends a child."""
_HEADER_BYTES = 1 << 20
_ARRAYS, _WORDS = 2, 1000
"""Arrays of an image, and letters of a refusal, at most."""
T = TypeVar("T")
log = logging.getLogger(__name__)


class Frames(BaseModel):
    """How many pictures a file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    frames: int = Field(ge=1, le=LIMITS.parts)


class Sandbox(ForkServer):
    """Decodes files in processes that may die. Safe to call from several threads; forks start one of their own."""

    def __init__(self, target: str = DECODE, limits: Limits = LIMITS) -> None:
        super().__init__("kdlight.images.helper", target, str(limits.memory), str(limits.seconds))
        self.limits = limits
        self.turns = _turns()
        self._lent: deque[Decoder] = deque()
        self.message_limits = MessageLimits(_HEADER_BYTES, 4 * limits.pixels + _HEADER_BYTES, _ARRAYS)
        self._guard: Guard | None = None

    @property
    def guard(self) -> Guard:
        """What holds the children on this machine. Raises CrashError where none can be had."""
        if self._guard is None:
            self.child().close()
        return self._guard or "limits"

    def decode(self, data: bytes, frame: int = 0, session: str = NOBODY) -> Image:
        """One frame of a file. Raises ImageError with the reason; whatever the child does, the caller goes on."""
        with Decoder(self, session) as decoder:
            return decoder.decode(data, frame)

    def child(self) -> Fork:
        """A fresh one. Raises CrashError where none can be had."""
        try:
            child = self.fork(_START_SECONDS, self.message_limits)
        except OSError:
            raise CrashError("The decoding process cannot be started on this machine.") from None
        if self._guard is None and child.guard == "limits":
            log.warning(
                "This system has no seccomp filters: image files are decoded in processes that are limited in memory, "
                "time and open files only. Read files of strangers on Linux."
            )
        self._guard = child.guard
        return child

    def converse(self, child: Fork, data: bytes, frame: int) -> Image:
        """Ask a child for one frame of a file. Raises ImageError with the reason."""
        with self._answered(child):
            image = _exchange(child, "decode", {"frame": frame, "data": data}, Image)
            if not self._fits(image, frame):
                raise MessageError("This is no image as it was asked for.")
        return dataclasses.replace(image, sha256=hashlib.sha256(data).hexdigest())

    def count(self, child: Fork, data: bytes) -> int:
        """Ask a child how many frames a file has by its headers. Raises ImageError with the reason."""
        with self._answered(child):
            return _exchange(child, "count", {"data": data}, Frames).frames

    @contextlib.contextmanager
    def _answered(self, child: Fork) -> Iterator[None]:
        """A child's silence, end or nonsense as the reason why a file is not read."""
        child.channel.within(self.limits.seconds + _GRACE_SECONDS)
        try:
            yield
        except MessageError:
            raise CrashError(
                "The decoding process gave an answer that makes no sense. Try again with another file."
            ) from None
        except ChannelSilentError:
            raise TimeLimitError("Decoding gave no answer and was stopped. Try again.") from None
        except ChannelClosedError:
            raise self._death(child.exit_code()) from None

    def _fits(self, image: Image, frame: int) -> bool:
        """Whether an image is of the frame that was asked for, within the limits, and can be shown."""
        rows, columns = image.shape
        shown = image.color or bool(image.windows)
        return rows * columns <= self.limits.pixels and image.frame == frame < image.frames and shown

    @contextlib.contextmanager
    def lend(self) -> Iterator[Decoder]:
        """A decoder that the next borrower takes over, until they are all recalled: for the many files of one set."""
        try:
            decoder = self._lent.pop()
        except IndexError:
            decoder = Decoder(self, files=SET_FILES)
        try:
            yield decoder
        finally:
            self._lent.append(decoder)

    def recall(self) -> None:
        """End the children of the decoders that nobody uses."""
        with contextlib.suppress(IndexError):
            while True:
                self._lent.pop().close()

    def forget(self) -> None:
        super().forget()
        self.turns, self._lent = _turns(), deque()

    def _death(self, code: int | None) -> ImageError:
        """The reason why a child ended without an answer."""
        if code is None:
            return CrashError("The decoding process was ended from outside. Try again.")
        if -code in (signal.SIGALRM, signal.SIGXCPU):
            return TimeLimitError(f"Decoding took longer than {self.limits.seconds:g} s and was stopped.")
        return CrashError(f"The decoder crashed on this file ({describe_exit(code)}); nothing else was harmed.")


def _turns() -> Turns:
    """As many for commands as the machine has cores, and as many again, so that sessions never wait for those."""
    cores = max(2, os.cpu_count() or 1)
    return Turns(2 * cores, cores)


def _exchange(child: Fork, name: str, body: dict[str, object], kind: type[T]) -> T:
    """One request and its answer. Raises ImageError for a refusal, ChannelClosedError for anything else."""
    with contextlib.suppress(ChannelClosedError):  # it may have refused and ended before it read all
        child.channel.send("request", body, name=name)
    answer = child.channel.receive()
    if answer.kind == "error":
        raise _refusal(answer.parse(Failure))
    if answer.kind != "result":
        raise MessageError("This is no answer.")
    return answer.parse(kind)


def _refusal(failure: Failure) -> ImageError:
    """What a child says of a file. Raises MessageError for what no decoder says."""
    kind, words = ERRORS.get(failure.name), failure.message
    if kind is None or not words.isprintable() or not 0 < len(words) <= _WORDS:
        raise MessageError("This is no reason for a refusal.")
    return kind(words)


class Decoder:
    """Decodes one file after the other, so many in one child. Belongs to one thread at a time."""

    def __init__(self, sandbox: Sandbox, session: str = NOBODY, files: int | None = None) -> None:
        self._sandbox, self._session, self._most = sandbox, session, files or FILES
        self._child: Fork | None = None
        self._files = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decode(self, data: bytes, frame: int = 0) -> Image:
        """As `Sandbox.decode`. A refusal is always that of a child which decoded nothing else."""
        return self._in_turn(lambda child: self._sandbox.converse(child, data, frame))

    def count(self, data: bytes) -> int:
        """As `Sandbox.count`; of a refusal see `decode`."""
        return self._in_turn(lambda child: self._sandbox.count(child, data))

    def _in_turn(self, ask: Callable[[Fork], T]) -> T:
        with self._sandbox.turns.turn(self._session):
            reused = self._child is not None
            try:
                return self._ask(ask)
            except ImageError as error:
                self.close()
                if not reused or isinstance(error, TimeLimitError):
                    raise
                return self._ask(ask)

    def _ask(self, ask: Callable[[Fork], T]) -> T:
        if self._child is None:
            self._child, self._files = self._sandbox.child(), 0
        answer = ask(self._child)
        self._files += 1
        if self._files >= self._most:
            self.close()
        return answer

    def close(self) -> None:
        """Let the child end; the next file gets a fresh one."""
        if self._child is not None:
            self._child.close()
            self._child = None


SANDBOX = Sandbox()
atexit.register(SANDBOX.close)
os.register_at_fork(after_in_child=SANDBOX.forget)
