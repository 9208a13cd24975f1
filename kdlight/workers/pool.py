"""The worker processes of one app: a bounded queue, one model call at a time in each, a new one where one died."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import threading
import time
import traceback
from collections import deque
from typing import Any

from kdlight.workers.errors import QueueFull, RequestCancelled, WorkerDied, WorkerError, from_wire
from kdlight.workers.process import CHILD, Process
from kdlight.workers.requests import REQUESTS, Request
from kdlight.workers.ticket import Ticket
from kdlight.workers.wire import ChannelClosedError, ChannelSilentError

STALL = 120.0
"""Seconds without a sign of life after which a worker is killed. Long work reports its progress."""
GRACE = 5.0
"""Seconds that a worker has to stop a cancelled request before it is killed."""
IDLE = 0.5
"""Seconds between looks at an idle worker."""
STARTS = 3
"""Starts that may fail in a row before requests are turned away at once."""


class Workers:
    """Submit requests, get tickets. Starts at once and warms up in the background; `close` or the exit ends it."""

    def __init__(
        self, processes: int = 1, queue: int = 8, threads: int | None = None, stall: float = STALL, child: str = CHILD
    ) -> None:
        self.queue = queue
        self.stall = stall
        self._threads = threads or max(1, min(4, cores() // 2 // processes))
        self._child = child
        self._numbers = itertools.count(1)
        self._waiting: deque[Ticket] = deque()
        self._running: dict[Ticket, Process] = {}
        self._processes: dict[int, Process] = {}
        self._changed = threading.Condition(threading.RLock())
        self._closing = False
        self._owners = [threading.Thread(target=self._own, args=[i], daemon=True) for i in range(processes)]
        for owner in self._owners:
            owner.start()
        atexit.register(self.close)

    def submit(self, request: Request | str, *arguments: Any, **options: Any) -> Ticket:
        """Queue a request, or one by its name in REQUESTS with its fields: `submit("read", path, image)`.

        Raises QueueFull if `queue` requests wait already, WorkerError for an unknown name or after `close`.
        """
        if isinstance(request, str):
            if request not in REQUESTS:
                raise WorkerError(f"Unknown request {request!r}; one of {', '.join(REQUESTS)} was expected.")
            request = REQUESTS[request](*arguments, **options)
        with self._changed:
            if self._closing:
                raise WorkerError("The reading processes are shut down; start the app again.")
            if len(self._waiting) >= self.queue:
                raise QueueFull(f"{len(self._waiting)} requests wait already, as many as may. Try again in a moment.")
            ticket = Ticket(next(self._numbers), request, self._place, self._drop)
            self._waiting.append(ticket)
            self._changed.notify_all()
        return ticket

    @property
    def ready(self) -> bool:
        """Whether every process is up and can be asked."""
        return len(self._processes) == len(self._owners) and all(p.ready for p in list(self._processes.values()))

    @property
    def idle(self) -> bool:
        """Whether nothing is worked on and nothing waits."""
        with self._changed:
            return not self._running and not self._waiting

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in list(self._processes.values())]

    def wait_ready(self, timeout: float) -> bool:
        """Wait until `ready`; False if it takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ready or self._closing, timeout) and self.ready

    def close(self) -> None:
        """End the processes. What waits or runs fails with a sentence. Calling it again does nothing."""
        with self._changed:
            self._closing = True
            for ticket in (*self._waiting, *self._running):
                ticket.finish(error=WorkerError("The app is shutting down; nothing was read."))
            self._waiting.clear()
            for process in self._running.values():
                process.kill()
            self._changed.notify_all()
        for owner in self._owners:
            owner.join(10)
        atexit.unregister(self.close)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _own(self, slot: int) -> None:
        """The life of one slot: a process, its requests one by one, another process when it ends."""
        failures = 0
        while not self._closing:
            started = self._start(slot)
            if started is not None:
                how = self._run(started)
                failures = 0 if started.ready else failures + 1
                self._processes.pop(slot)
                self._give_up(started, how)
            else:
                failures += 1
            self._pause(failures)

    def _start(self, slot: int) -> Process | None:
        try:
            process = Process(self._threads, self.stall, self._child)
        except OSError:
            return None
        with self._changed:
            self._processes[slot] = process
        return process

    def _run(self, process: Process) -> str:
        """Serve until the process ends or the pool closes; returns in words how it ended."""
        try:
            while (ticket := self._next(process)) is not None:
                self._serve(process, ticket)
        except ChannelSilentError:
            process.kill()
            process.end()
            return f"it gave no sign of life for {self.stall:g} s"
        except ChannelClosedError:
            return process.end()
        except Exception:  # noqa: BLE001  what makes no sense ends the process, never the thread that replaces it
            traceback.print_exc()
            process.kill()
        return process.end()

    def _next(self, process: Process) -> Ticket | None:
        """Wait for a request; None when the pool closes. Raises ChannelClosedError if the process ends."""
        with self._changed:
            while not self._closing:
                was = process.ready
                process.listen()
                if process.ready != was:
                    self._changed.notify_all()
                if self._waiting:
                    ticket = self._waiting.popleft()
                    ticket.state = "running"
                    self._running[ticket] = process
                    return ticket
                self._changed.wait(IDLE)
        return None

    def _serve(self, process: Process, ticket: Ticket) -> None:
        """Hand over one request and see it through. Raises ChannelClosedError if the process ends before it answers."""
        if not process.ready:
            ticket.progress = (0.0, "The reading process is starting")
        try:
            process.send({"id": ticket.number, "request": ticket.request})
        except TypeError as unsendable:
            self._end(ticket, error=WorkerError(str(unsendable)))
            return
        while True:
            message = process.receive()
            if message.get("id") != ticket.number:
                continue
            if "progress" in message:
                ticket.begun, ticket.progress = True, message["progress"]
                continue
            error = from_wire(message["error"]) if "error" in message else None
            self._end(ticket, message.get("answer"), error)
            return

    def _end(self, ticket: Ticket, answer: Any = None, error: Exception | None = None) -> None:
        with self._changed:
            self._running.pop(ticket, None)
            ticket.finish(answer, error)
            self._changed.notify_all()

    def _give_up(self, process: Process, how: str) -> None:
        """Only the request that the dead process worked on fails; one it had not taken up gets another chance."""
        with self._changed:
            lost = [ticket for ticket, worker in self._running.items() if worker is process]
            for ticket in lost:
                del self._running[ticket]
                if ticket.begun or ticket.again or ticket.done:
                    sentence = f"The reading process ended while it worked on this ({how}). A new one is starting."
                    ticket.finish(error=WorkerDied(f"{sentence} Try again."))
                else:
                    ticket.again, ticket.state = True, "waiting"
                    self._waiting.appendleft(ticket)

    def _pause(self, failures: int) -> None:
        """After a process that never became ready: wait, longer each time; after STARTS of them turn away who asks."""
        if not failures:
            return
        until = time.monotonic() + min(30.0, 2.0**failures / 4)
        with self._changed:
            while not self._closing and (left := until - time.monotonic()) > 0:
                while failures >= STARTS and self._waiting:
                    sentence = (
                        "The reading process cannot be started on this machine; its log says why. Try again later."
                    )
                    self._waiting.popleft().finish(error=WorkerDied(sentence))
                self._changed.wait(left)

    def _place(self, ticket: Ticket) -> int:
        with self._changed:
            return self._waiting.index(ticket) + len(self._running) if ticket in self._waiting else 0

    def _drop(self, ticket: Ticket) -> None:
        with self._changed:
            if ticket.done:
                return
            process = self._running.get(ticket)
            with contextlib.suppress(ValueError):
                self._waiting.remove(ticket)
            ticket.finish(error=RequestCancelled("The request was cancelled."))
            self._changed.notify_all()
        if process is not None:
            self._stop(process, ticket)

    def _stop(self, process: Process, ticket: Ticket) -> None:
        """Ask a process to leave a request alone; kill it if it does not. One that is warming up will see in time."""

        def insist() -> None:
            with contextlib.suppress(ChannelClosedError):
                process.send({"cancel": ticket.number})
            time.sleep(GRACE)
            if self._running.get(ticket) is process and ticket.begun:
                process.kill()

        threading.Thread(target=insist, daemon=True).start()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
