"""The decoding helper: one small process that forks children which decode, so that a codec may crash, hang or swell.

Run as `python -m kdlight.images.helper TARGET FD LIMITS`. It has one thread, holds the codecs in memory and decodes
nothing itself. Over the socket FD come pairs of descriptors: a channel for a child's files, and a pipe on which the
helper writes how the child ended. A child decodes until its channel closes. When the socket closes (the owner ended,
in whatever way) the children are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import logging
import math
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
import warnings
from collections.abc import Callable
from typing import NoReturn

import PIL.Image

from kdlight.images.errors import CodecError, ImageError, TooBigError
from kdlight.images.image import Image
from kdlight.images.limits import Limits
from kdlight.images.wire import receive_request, send_error, send_image

Decode = Callable[[bytes, int], Image]
ENDED = struct.Struct("<i")
"""How a child ended: its exit status, or minus the signal."""


def main(target: str, descriptor: str, limits: str) -> None:
    module, _, name = target.partition(":")
    decode: Decode = getattr(importlib.import_module(module), name)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    PIL.Image.init()
    importlib.import_module("numpy.ma")  # np.percentile imports it on first use, which is in every child
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    gc.collect()
    gc.freeze()
    serve(socket.socket(fileno=int(descriptor)), decode, Limits(**json.loads(limits)))


def serve(control: socket.socket, decode: Decode, limits: Limits) -> None:
    """Fork for every request until the owner is gone."""
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
                _close(control.fileno(), waker, wake, report, *children.values())
                _child(socket.socket(fileno=channel), decode, limits)
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
            os.write(report, ENDED.pack(os.waitstatus_to_exitcode(status)))
        os.close(report)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _child(channel: socket.socket, decode: Decode, limits: Limits) -> NoReturn:
    """Decode under the limits until the owner asks no more, and end. Nothing is cleaned up: the process is gone."""
    status = 1
    try:
        _limit(limits)
        while (request := receive_request(channel)) is not None:
            _time(limits)
            _answer(channel, decode, request, limits)
            signal.setitimer(signal.ITIMER_REAL, 0)
        status = 0
    finally:
        os._exit(status)


def _answer(channel: socket.socket, decode: Decode, request: tuple[bytes, int], limits: Limits) -> None:
    try:
        send_image(channel, decode(*request))
    except ImageError as error:
        send_error(channel, error)
    except MemoryError:
        gigabytes = limits.memory / 1024**3
        send_error(channel, TooBigError(f"Decoding needs more than {gigabytes:.3g} GB of memory and was stopped."))
    except RecursionError:
        send_error(channel, TooBigError("The file nests its content too deeply to be read."))
    except Exception as error:  # noqa: BLE001  what a decoder did not foresee is a refusal with its kind, never its text
        send_error(channel, CodecError(f"The file could not be decoded: {type(error).__name__} in its content."))


def _time(limits: Limits) -> None:
    """From now on this file's wall time counts, and its processor time, where a codec keeps the alarm from coming."""
    signal.setitimer(signal.ITIMER_REAL, limits.seconds)
    seconds = math.ceil(time.process_time() + limits.seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _limit(limits: Limits) -> None:
    """The kernel stops this process at these limits, in C code too."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        with open("/proc/self/statm") as pages:
            size = int(pages.read().split()[0]) * resource.getpagesize() + limits.memory
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


if __name__ == "__main__":
    main(*sys.argv[1:])
