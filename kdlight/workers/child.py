"""The worker process itself: one request at a time, until the app closes the socket or is gone.

`python -m kdlight.workers.child SOCKET PARENT THREADS MEMORY [warm]`: started by `kdlight.workers.pool`, not by hand.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kdlight.explain import Progress
from kdlight.processes import Channel, ChannelClosedError, Failure, Message
from kdlight.workers.errors import RequestCancelled
from kdlight.workers.requests import FUNCTIONS, Request

PARENT_SECONDS = 1.0
"""Between looks whether the parent still lives."""


def main(warm_up: Callable[[int], Iterable[str]], functions: Mapping[type[Request[Any]], str] = FUNCTIONS) -> None:
    """Serve the socket whose number stands in the arguments: socket, process id of the parent, threads, bytes.

    It ends without Python's own clean-up: that waits for the libraries' threads, and there is nothing to save.
    """
    number, parent, threads, memory = (int(argument) for argument in sys.argv[1:5])
    _limit(memory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()
    channel = Channel(socket.socket(fileno=number))
    by_name = {request.__name__: (request, function) for request, function in functions.items()}
    with contextlib.suppress(ChannelClosedError):
        for step in warm_up(threads):
            channel.send("ready", step)
            while channel.waiting():
                _answer(channel, channel.receive(), by_name)
        while True:
            _answer(channel, channel.receive(), by_name)
    os._exit(0)


def _answer(channel: Channel, message: Message, functions: Mapping[str, tuple[type[Request[Any]], str]]) -> None:
    """Work on one request and send its answer or its error. Raises ChannelClosedError if nobody listens."""
    if message.kind != "request":
        return  # a cancel that came after the answer
    progress = _progress(channel, message.number)
    try:
        progress(0.0, "")
        kind, function = functions[message.name]
        module, _, name = function.partition(":")
        answer = getattr(importlib.import_module(module), name)(message.parse(kind), progress)
        channel.send("result", answer, message.number)
    except ChannelClosedError:
        raise
    except Exception as error:  # noqa: BLE001  whatever it is, whoever asked must hear of it
        if not isinstance(error, ValueError):
            traceback.print_exc()
        channel.send("error", Failure.of(error), message.number)


def _progress(channel: Channel, number: int) -> Progress:
    """Tells the app how far a request is, and raises RequestCancelled once it is no longer wanted."""

    def progress(share: float, words: str) -> None:
        channel.send("progress", (share, words), number)
        while channel.waiting():
            message = channel.receive()
            if message.kind == "cancel" and message.number == number:
                raise RequestCancelled("The request was cancelled.")

    return progress


def _limit(memory: int) -> None:
    """The kernel gives this process so many bytes of its own beyond what it has now, and writes no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with open("/proc/self/statm") as pages:
            size = int(pages.read().split()[5]) * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, however busy it is."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    from kdlight.workers.models import warm_up

    main(warm_up if "warm" in sys.argv else lambda threads: ["at once"])
