"""A small process that forks a limited child on request, so that a crash, a hang or a flood of memory harms nobody.

The fork server has one thread and what its children need in memory already. Over its socket come pairs of descriptors:
the channel of a child, and a pipe on which the server writes how that child ended. A child answers requests until its
channel closes. When the server's socket closes (its owner ended, in whatever way) the children are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from kdlight.processes.message import Channel, ChannelClosedError, Message, MessageLimits
from kdlight.processes.process import Process

_EXIT = struct.Struct("<i")
"""How a child ended: its exit status, or minus the signal."""

TUNABLES = "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=134217728"
"""A child uses freed arrays again: handing them back to the kernel and fetching others costs page faults."""

Answer = Callable[[Channel, Message], None]
"""Sends the answer to one request."""


@dataclass(frozen=True, slots=True)
class Fork:
    """A child as its owner sees it."""

    channel: Channel
    report: BinaryIO

    def exit_code(self) -> int | None:
        """Waits for its end: an exit status, minus a signal, or None where the fork server itself is gone."""
        status = self.report.read(_EXIT.size)
        return _EXIT.unpack(status)[0] if len(status) == _EXIT.size else None

    def close(self) -> None:
        """The child ends when it reads that nobody asks any more."""
        self.channel.close()
        self.report.close()


class ForkServer:
    """The owner's side: starts the server, and again where it ended. Safe to call from several threads."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = (module, *arguments)
        self._lock = threading.Lock()
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> Process:
        """Start the server where it does not run, without waiting for it."""
        with self._lock:
            if self._process is None or not self._process.alive:
                self._end()
                self._process = Process(*self._command, GLIBC_TUNABLES=TUNABLES)
            return self._process

    def fork(self, timeout: float, limits: MessageLimits) -> Fork:
        """A fresh child. Raises OSError where none can be had."""
        mine, theirs = socket.socketpair()
        report, write = os.pipe()
        try:
            try:
                socket.send_fds(self.start().socket, [b"+"], [theirs.fileno(), write])
            except OSError:
                self.close()
                socket.send_fds(self.start().socket, [b"+"], [theirs.fileno(), write])
        except OSError:
            mine.close()
            os.close(report)
            raise
        finally:
            theirs.close()
            os.close(write)
        return Fork(Channel(mine, timeout, limits), os.fdopen(report, "rb"))

    def close(self) -> None:
        """End the server and its children; the next fork starts a new one."""
        with self._lock:
            self._end()

    def forget(self) -> None:
        """In a forked process: leave the parent's server alone and start one's own when it is needed."""
        if self._process is not None:
            self._process.disown()
        self._process, self._lock = None, threading.Lock()

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


def serve(control: socket.socket, answer: Answer, memory: int, seconds: float) -> None:
    """The server's side: fork for every request until the owner is gone. memory, seconds: see `_limit`, `_time`."""
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waker, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), waker], [], [])
        if waker in ready:
            os.read(waker, 4096)
            _reap(children)
        if control.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(control, 1, 2)
            if not message:
                break
            channel, report = descriptors
            pid = os.fork()
            if pid == 0:
                for descriptor in (control.fileno(), waker, wake, report, *children.values()):
                    os.close(descriptor)
                _child(Channel(socket.socket(fileno=channel)), answer, memory, seconds)
            os.close(channel)
            children[pid] = report
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _reap(children: dict[int, int]) -> None:
    """Report every child that ended, on its own pipe."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        report = children.pop(pid)
        with contextlib.suppress(OSError):
            os.write(report, _EXIT.pack(os.waitstatus_to_exitcode(status)))
        os.close(report)


def _child(channel: Channel, answer: Answer, memory: int, seconds: float) -> NoReturn:
    """Answer under the limits until the owner asks no more, and end. Nothing is cleaned up: the process is gone."""
    status = 1
    try:
        _limit(memory)
        with contextlib.suppress(ChannelClosedError):
            while True:
                message = channel.receive()
                _time(seconds)
                answer(channel, message)
                signal.setitimer(signal.ITIMER_REAL, 0)
        status = 0
    finally:
        os._exit(status)


def _time(seconds: float) -> None:
    """From now on wall time counts, and processor time too, where a library's C code keeps the alarm from coming."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    limit = math.ceil(time.process_time() + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _limit(memory: int) -> None:
    """The kernel stops this process at these limits, in C code too. memory: bytes above what it starts with."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        with open("/proc/self/statm") as pages:
            size = int(pages.read().split()[0]) * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
