"""The owner's side of the decoding helper: starts it, hands it files, tells how a decode ended.

A file gets a child of its own. Where many files are read in a row, a `Lane` lends one child to FILES of them, since the
fork and its page faults cost as much processor time as the decoding (some 13 ms here); a file that fails there is
tried once more in a child of its own, so that none is refused for what an earlier one did.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Self

from kdlight.images.errors import CrashError, ImageError, TimeLimitError
from kdlight.images.helper import ENDED
from kdlight.images.image import Image
from kdlight.images.limits import LIMITS, Limits
from kdlight.images.wire import REQUEST, receive_image

DECODE = "kdlight.images.decode:decode"
_START_SECONDS = 60.0
"""What the owner waits beyond the time limit: the helper's first start."""


FILES = 32
"""Files that one child of a lane may decode. The choice is ours."""


@dataclass(slots=True)
class Child:
    """A decoding child: its channel, the pipe that tells how it ended, and the files that it answered."""

    channel: socket.socket
    ended: BinaryIO
    files: int = 0

    def close(self) -> None:
        """It ends when it reads that nobody asks any more."""
        self.channel.close()
        self.ended.close()


class Sandbox:
    """Decodes files in processes that may die. Safe to call from several threads; forks see a fresh one."""

    def __init__(self, target: str = DECODE, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self._target = target
        self._lock = threading.Lock()
        self.turns = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))
        self._helper: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def warm(self) -> None:
        """Start the helper without waiting for it, so that the first file does not pay for it."""
        with self._lock:
            self._start()

    def decode(self, data: bytes, frame: int = 0) -> Image:
        """One frame of a file. Raises ImageError with the reason; whatever the child does, the caller goes on."""
        with Lane(self) as lane:
            return lane.decode(data, frame)

    def converse(self, child: Child, data: bytes, frame: int) -> Image:
        """Ask a child for one file. Raises ImageError with the reason."""
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                child.channel.sendall(REQUEST.pack(frame, len(data)))
                child.channel.sendall(data)
            return receive_image(child.channel, hashlib.sha256(data).hexdigest())
        except TimeoutError:
            self.close()
            raise TimeLimitError("Decoding gave no answer and was stopped. Try again.") from None
        except (EOFError, ConnectionResetError):
            raise self._death(child.ended.read(ENDED.size)) from None

    def _death(self, status: bytes) -> ImageError:
        """The reason why a child ended without an answer."""
        if len(status) < ENDED.size:
            return CrashError("The decoding process was ended from outside. Try again.")
        (code,) = ENDED.unpack(status)
        if -code in (signal.SIGALRM, signal.SIGXCPU):
            return TimeLimitError(f"Decoding took longer than {self.limits.seconds:g} s and was stopped.")
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return CrashError(f"The decoder crashed on this file ({how}); nothing else was harmed.")

    def child(self) -> Child:
        """A fresh one. Raises CrashError where none can be had."""
        mine, theirs = socket.socketpair()
        report, write = os.pipe()
        try:
            with self._lock:
                try:
                    socket.send_fds(self._start(), [b"+"], [theirs.fileno(), write])
                except OSError:
                    self._stop()
                    socket.send_fds(self._start(), [b"+"], [theirs.fileno(), write])
        except OSError:
            mine.close()
            os.close(report)
            raise CrashError("The decoding process cannot be started on this machine.") from None
        finally:
            theirs.close()
            os.close(write)
        mine.settimeout(self.limits.seconds + _START_SECONDS)
        return Child(mine, os.fdopen(report, "rb"))

    def _start(self) -> socket.socket:
        if self._control is not None and self._helper is not None and self._helper.poll() is None:
            return self._control
        self._stop()
        mine, theirs = socket.socketpair()
        arguments = [self._target, str(theirs.fileno()), json.dumps(asdict(self.limits))]
        with theirs:
            self._helper = subprocess.Popen(
                [sys.executable, "-P", "-m", "kdlight.images.helper", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(),
            )
        self._control = mine
        return mine

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._helper is not None:
            try:
                self._helper.wait(2)
            except subprocess.TimeoutExpired:
                self._helper.kill()
                self._helper.wait()
            self._helper = None

    def close(self) -> None:
        """End the helper and its children; the next decode starts a new one."""
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """In a forked process: leave the parent's helper alone."""
        if self._control is not None:
            self._control.close()
        if self._helper is not None:
            self._helper.returncode = 0  # it is the parent's child: not ours to wait for
        self.__init__(self._target, self.limits)  # type: ignore[misc]


class Lane:
    """Decodes one file after the other, FILES of them in one child. Belongs to one thread at a time."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decode(self, data: bytes, frame: int = 0) -> Image:
        """As `Sandbox.decode`. A refusal is always that of a child which decoded nothing else."""
        with self._sandbox.turns:
            used = self._child is not None
            try:
                return self._ask(data, frame)
            except ImageError as error:
                self.close()
                if not used or isinstance(error, TimeLimitError):
                    raise
                return self._ask(data, frame)

    def _ask(self, data: bytes, frame: int) -> Image:
        if self._child is None:
            self._child = self._sandbox.child()
        image = self._sandbox.converse(self._child, data, frame)
        self._child.files += 1
        if self._child.files >= FILES:
            self.close()
        return image

    def close(self) -> None:
        """Let the child end; the next file gets a fresh one."""
        if self._child is not None:
            self._child.close()
            self._child = None


def _environment() -> dict[str, str]:
    """The helper finds this very package, has one thread, and tests of the owner do not reach into it."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}


SANDBOX = Sandbox()
atexit.register(SANDBOX.close)
os.register_at_fork(after_in_child=SANDBOX.forget)
