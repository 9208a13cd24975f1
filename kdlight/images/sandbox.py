"""The owner's side of the decoding helper: starts it, hands it files, tells how a decode ended."""

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
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from kdlight.images.errors import CrashError, ImageError, TimeLimitError
from kdlight.images.helper import ENDED
from kdlight.images.image import Image
from kdlight.images.limits import LIMITS, Limits
from kdlight.images.wire import REQUEST, receive_image

DECODE = "kdlight.images.decode:decode"
_START_SECONDS = 60.0
"""What the owner waits beyond the time limit: the helper's first start."""


class Sandbox:
    """Decodes files in processes that may die. Safe to call from several threads; forks see a fresh one."""

    def __init__(self, target: str = DECODE, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self._target = target
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))
        self._helper: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def warm(self) -> None:
        """Start the helper without waiting for it, so that the first file does not pay for it."""
        with self._lock:
            self._start()

    def decode(self, data: bytes, frame: int = 0) -> Image:
        """One frame of a file. Raises ImageError with the reason; whatever the child does, the caller goes on."""
        with self._turns:
            channel, report = self._request()
            with channel, os.fdopen(report, "rb") as ended:
                channel.settimeout(self.limits.seconds + _START_SECONDS)
                return self._converse(channel, ended, data, frame)

    def _converse(self, channel: socket.socket, ended: BinaryIO, data: bytes, frame: int) -> Image:
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                channel.sendall(REQUEST.pack(frame, len(data)))
                channel.sendall(data)
            return receive_image(channel, hashlib.sha256(data).hexdigest())
        except TimeoutError:
            self.close()
            raise TimeLimitError("Decoding gave no answer and was stopped. Try again.") from None
        except (EOFError, ConnectionResetError):
            raise self._death(ended.read(ENDED.size)) from None

    def _death(self, status: bytes) -> ImageError:
        """The reason why a child ended without an answer."""
        if len(status) < ENDED.size:
            return CrashError("The decoding process was ended from outside. Try again.")
        (code,) = ENDED.unpack(status)
        if -code in (signal.SIGALRM, signal.SIGXCPU):
            return TimeLimitError(f"Decoding took longer than {self.limits.seconds:g} s and was stopped.")
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return CrashError(f"The decoder crashed on this file ({how}); nothing else was harmed.")

    def _request(self) -> tuple[socket.socket, int]:
        """A fresh channel to a fresh child, and the pipe that tells how it ended."""
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
        return mine, report

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


def _environment() -> dict[str, str]:
    """The helper finds this very package, has one thread, and tests of the owner do not reach into it."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}


SANDBOX = Sandbox()
atexit.register(SANDBOX.close)
os.register_at_fork(after_in_child=SANDBOX.forget)
