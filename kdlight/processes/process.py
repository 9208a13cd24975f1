"""A Python module run in a process of its own, reached by one socket."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Process:
    """`python -m MODULE SOCKET ARGUMENTS...`, SOCKET being the number of its end; it inherits no other descriptor.

    Started by subprocess, since multiprocessing would import the main module (of an app, the page) again. inherited:
    the variables of the environment that it gets; None for all. Raises OSError where it cannot be started.
    """

    def __init__(
        self, module: str, *arguments: str, threads: int = 1, inherited: Iterable[str] | None = None, **environment: str
    ) -> None:
        self.socket, theirs = socket.socketpair()
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(threads, inherited) | environment,
            )
        except OSError:
            self.socket.close()
            raise
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def kill(self) -> None:
        self._popen.kill()

    def end(self, grace: float = 2.0) -> str:
        """Close the socket, wait, and kill what is left. Returns in words how it ended."""
        self.socket.close()
        try:
            code = self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            code = self._popen.wait()
        return describe_exit(code)

    def disown(self) -> None:
        """In a forked process: the child is the parent's, not ours to wait for."""
        self.socket.close()
        self._popen.returncode = 0


def describe_exit(code: int) -> str:
    """An exit status, or minus a signal, in words: `exit status 3`, `SIGSEGV`."""
    if code >= 0:
        return f"exit status {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _environment(threads: int, inherited: Iterable[str] | None) -> dict[str, str]:
    """The parent's, with this very package in reach, so many threads, and no warnings that a test makes errors."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    changed = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}
    kept = {name: os.environ[name] for name in (os.environ if inherited is None else inherited) if name in os.environ}
    return {**kept, **dict.fromkeys(THREADS, str(threads)), **changed}
