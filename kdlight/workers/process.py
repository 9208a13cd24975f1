"""One worker process as its owner sees it: started apart from the app's own modules, reached by one socket."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from kdlight.workers.wire import Channel

CHILD = "kdlight.workers"
"""Run with `-m`. Started by subprocess: multiprocessing would import the app's own main module again."""


class Process:
    """A running child. It ends when this end of the socket closes, or its parent is gone."""

    def __init__(self, threads: int, stall: float, module: str = CHILD) -> None:
        mine, theirs = socket.socketpair()
        arguments = [str(theirs.fileno()), str(os.getpid()), str(threads)]
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(threads),
            )
        self.channel = Channel(mine, stall)
        self.ready = False
        """Whether it said that its models can be asked."""

    @property
    def pid(self) -> int:
        return self._popen.pid

    def send(self, message: dict[str, Any]) -> None:
        self.channel.send(message)

    def receive(self) -> dict[str, Any]:
        """The next message that is not about being ready. Raises ChannelClosedError."""
        while True:
            message = self.channel.receive()
            if "ready" not in message:
                return message
            self.ready = True

    def listen(self) -> None:
        """Take note of what came unasked. Raises ChannelClosedError if the child is gone."""
        while self.channel.waiting():
            self.ready = "ready" in self.channel.receive() or self.ready

    def kill(self) -> None:
        self._popen.kill()

    def end(self, grace: float = 2.0) -> str:
        """Close the socket, wait, and kill what is left. Returns in words how it ended."""
        self.channel.close()
        try:
            code = self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            code = self._popen.wait()
        if code >= 0:
            return f"exit status {code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"


def _environment(threads: int) -> dict[str, str]:
    """The owner's, with this package in reach and as many OpenMP threads as the child may use."""
    source = str(Path(__file__).resolve().parents[2])
    paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": str(threads)}
