"""A small process that forks a limited child on request, so that a crash, a hang or a flood of memory harms nobody.

The fork server has one thread and what its children need in memory already, and no secrets: of its owner's environment
it gets what Python needs to start, and its children none. Over its socket come pairs of descriptors: the channel of a
child, and a pipe on which the server writes how that child ended. A child gives up all but computing, says so, and
answers requests until its channel closes. When the server's socket closes (its owner ended, in whatever way) the
children are killed.
"""

from __future__ import annotations

import contextlib
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
from dataclasses import dataclass, field
from typing import BinaryIO, NoReturn

from kdlight.processes.confine import Guard, address_space, confine, probe
from kdlight.processes.message import Channel, ChannelClosedError, Message, MessageLimits
from kdlight.processes.process import Process

_EXIT = struct.Struct("<i")
"""How a child ended: its exit status, or minus the signal."""

_READY = struct.Struct("<i?")
"""What a child says before it reads a byte: its process, and whether a filter of system calls holds it."""

TUNABLES = "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=134217728"
"""A child uses freed arrays again: handing them back to the kernel and fetching others costs page faults."""

ENVIRONMENT = ("PYTHONPATH", "PYTHONHOME", "HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE")
"""What the server gets of its owner's environment."""

Answer = Callable[[Channel, Message], None]
"""Sends the answer to one request."""


@dataclass(frozen=True, slots=True)
class Fork:
    """A child as its owner sees it."""

    channel: Channel
    report: BinaryIO
    pid: int
    guard: Guard
    owner: int = field(default_factory=os.getpid)

    def exit_code(self) -> int | None:
        """How it ended: an exit status, minus a signal, or None where the fork server itself is gone.

        One that has closed its channel and lives on is killed.
        """
        self._kill()
        status = self.report.read(_EXIT.size)
        return _EXIT.unpack(status)[0] if len(status) == _EXIT.size else None

    def close(self) -> None:
        """End the child, whatever it is at."""
        self._kill()
        self.channel.close()
        self.report.close()

    def _kill(self) -> None:
        """A child that has been reported is gone, and its number may be another's; a forked owner owns none."""
        if os.getpid() == self.owner and not select.select([self.report], [], [], 0)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


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
                self._process = Process(*self._command, inherited=ENVIRONMENT, GLIBC_TUNABLES=TUNABLES)
            return self._process

    def fork(self, timeout: float, limits: MessageLimits) -> Fork:
        """A fresh child, confined. Raises OSError where none can be had within `timeout` seconds."""
        end, report = self._request()
        pipe = os.fdopen(report, "rb")
        end.settimeout(timeout)
        try:
            pid, filtered = _READY.unpack(end.recv(_READY.size, socket.MSG_WAITALL))
        except (OSError, struct.error) as error:
            end.close()
            pipe.close()
            if isinstance(error, TimeoutError):
                self.close()
            raise ChannelClosedError("A child ended before it was ready.") from None
        return Fork(Channel(end, timeout, limits), pipe, pid, "seccomp" if filtered else "limits")

    def _request(self) -> tuple[socket.socket, int]:
        """Ask the server for a child; the end of its channel, and of the pipe on which its end is reported."""
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
        return mine, report

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
    """The server's side: fork for every request until the owner is gone.

    memory: bytes that a child may take beyond what it starts with (Linux); seconds: that one request may take.
    """
    os.environ.clear()
    if sys.platform == "linux":
        probe()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    memory += address_space()  # asked here once: opening a file costs a child as much as the rest of its limits
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
                signal.set_wakeup_fd(-1)
                _child(channel, answer, memory, seconds)
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


def _child(descriptor: int, answer: Answer, memory: int, seconds: float) -> NoReturn:
    """Answer under the limits until the owner asks no more, and end. Nothing is cleaned up: the process is gone."""
    status = 1
    try:
        end = socket.socket(fileno=descriptor)
        channel = Channel(end)
        end.sendall(_READY.pack(os.getpid(), confine(memory, descriptor) == "seccomp"))
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
