"""The worker process itself: one request at a time, until the app closes the socket or is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from kdlight.explain import Progress
from kdlight.workers.errors import RequestCancelled, to_wire
from kdlight.workers.wire import Channel, ChannelClosedError

Task = Callable[[Any, Progress], Any]
"""A request and where to tell how far it is, to its answer."""
WATCH = 1.0
"""Seconds between looks whether the parent still lives."""


def main(task: Task, warm_up: Callable[[int], Iterator[str]]) -> None:
    """Serve the socket whose number stands in the arguments: socket, process id of the parent, threads.

    It ends without Python's own clean-up: that waits for the libraries' threads, and there is nothing to save.
    """
    number, parent, threads = (int(argument) for argument in sys.argv[1:4])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=[parent], daemon=True).start()
    channel = Channel(socket.socket(fileno=number))
    with contextlib.suppress(ChannelClosedError):
        for step in warm_up(threads):
            channel.send({"ready": step})
            while channel.waiting():
                answer(channel, channel.receive(), task)
        while True:
            answer(channel, channel.receive(), task)
    os._exit(0)


def answer(channel: Channel, message: dict[str, Any], task: Task) -> None:
    """Work on one request and send its answer or its error. Raises ChannelClosedError if nobody listens."""
    if "request" not in message:
        return
    number = message["id"]
    report = _reporter(channel, number)
    try:
        report(0.0, "")
        found = {"answer": task(message["request"], report)}
    except ChannelClosedError:
        raise
    except Exception as error:  # noqa: BLE001  whatever it is, whoever asked must hear of it
        if not isinstance(error, ValueError):
            traceback.print_exc()
        found = {"error": to_wire(error)}
    channel.send({"id": number, **found})


def _reporter(channel: Channel, number: int) -> Progress:
    """Tells the app how far a request is, and raises RequestCancelled once it is no longer wanted."""

    def report(share: float, words: str) -> None:
        channel.send({"id": number, "progress": (share, words)})
        while channel.waiting():
            if channel.receive().get("cancel") == number:
                raise RequestCancelled("The request was cancelled.")

    return report


def _watch(parent: int) -> None:
    """End this process when its parent is gone, however busy it is."""
    while os.getppid() == parent:
        time.sleep(WATCH)
    os._exit(1)
