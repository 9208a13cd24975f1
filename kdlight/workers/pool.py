"""The worker processes of one app: a bounded queue, one request at a time in each, a new one where one died."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import threading
import time
import traceback
from collections import deque
from concurrent.futures import Future
from typing import Any, Generic, Literal

from kdlight.processes import Channel, ChannelClosedError, ChannelSilentError, Failure, Process
from kdlight.workers.errors import QueueFull, RequestCancelled, WorkerDied, WorkerError, exception_of
from kdlight.workers.requests import R, Request

MODULE = "kdlight.workers"
STALL = 120.0
"""Seconds without a sign of life after which a worker is killed. Long work reports its progress."""
GRACE = 5.0
"""Seconds that a worker has to stop a cancelled request before it is killed."""
IDLE = 0.5
"""Seconds between looks at an idle worker."""
STARTS = 3
"""Starts that may fail in a row before requests are turned away at once."""

State = Literal["waiting", "running", "done", "failed", "cancelled"]


class Ticket(Generic[R]):
    """One request on its way. Safe to ask from any thread; it changes only through the Workers that gave it."""

    def __init__(self, number: int, request: Request[R], workers: Workers) -> None:
        self.number = number
        self.request = request
        self.state: State = "waiting"
        self.progress: tuple[float, str] = (0.0, "")
        """Share done, 0 to 1, and words."""
        self.begun = False
        """Whether a worker said that it has taken it up; until then a running ticket waits for its warm-up."""
        self.again = False
        """Whether a process ended before it took this up, so that another was given it."""
        self._workers = workers
        self._future: Future[R] = Future()

    @property
    def position(self) -> int:
        """How many requests are worked on or wait before this one; 0 once it is worked on."""
        return self._workers.position(self)

    @property
    def done(self) -> bool:
        """True once `result` answers at once: with an answer, or by raising."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> R:
        """The answer. Raises what the worker raised, a WorkerError without an answer, TimeoutError if not yet there."""
        return self._future.result(timeout)

    def cancel(self) -> None:
        """The answer is no longer wanted: leaves the queue, or stops the work. Nothing happens if it is over."""
        self._workers.cancel(self)

    def finish(self, answer: Any = None, error: Exception | None = None) -> None:
        """For Workers, under its lock: the end, whichever it is. The first end stands."""
        if self.done:
            return
        cancelled = isinstance(error, RequestCancelled)
        self.state = "cancelled" if cancelled else "failed" if error is not None else "done"
        if error is not None:
            self._future.set_exception(error)
        else:
            self.progress = (1.0, self.progress[1])
            self._future.set_result(answer)


class Worker(Process):
    """One process and its channel."""

    def __init__(self, module: str, threads: int, warm: bool, stall: float) -> None:
        super().__init__(module, str(os.getpid()), str(threads), *(["warm"] if warm else []), threads=threads)
        self.channel = Channel(self.socket, stall)
        self.ready = False
        """Whether it said that it can be asked."""

    def note_ready(self) -> bool:
        """Take note of what came unasked; True if it is ready only now. Raises ChannelClosedError if it is gone."""
        before = self.ready
        while self.channel.waiting():
            self.ready = self.channel.receive().kind == "ready" or self.ready
        return self.ready != before


class Workers:
    """Submit requests, get tickets. Starts at once and warms up in the background; `close` or the exit ends it.

    keep: seconds; processes then start without a warm-up when there is work, and end after so long without any.
    """

    def __init__(
        self,
        processes: int = 1,
        queue: int = 8,
        threads: int | None = None,
        stall: float = STALL,
        keep: float | None = None,
        module: str = MODULE,
    ) -> None:
        self.queue = queue
        self.stall = stall
        self._keep = keep
        self._threads = threads or max(1, min(4, cores() // 2 // processes))
        self._module = module
        self._numbers = itertools.count(1)
        self._waiting: deque[Ticket[Any]] = deque()
        self._running: dict[Ticket[Any], Worker] = {}
        self._processes: dict[int, Worker] = {}
        self._changed = threading.Condition(threading.RLock())
        self._closing = False
        self._slots = [threading.Thread(target=self._fill, args=[i], daemon=True) for i in range(processes)]
        for slot in self._slots:
            slot.start()
        atexit.register(self.close)

    def submit(self, request: Request[R]) -> Ticket[R]:
        """Queue a request. Raises QueueFull if `queue` requests wait already, WorkerError after `close`."""
        with self._changed:
            if self._closing:
                raise WorkerError("The worker processes are shut down; start the app again.")
            if len(self._waiting) >= self.queue:
                raise QueueFull(f"{len(self._waiting)} requests wait already, as many as may. Try again in a moment.")
            ticket = Ticket(next(self._numbers), request, self)
            self._waiting.append(ticket)
            self._changed.notify_all()
        return ticket

    @property
    def ready(self) -> bool:
        """Whether every process is up and can be asked."""
        return len(self._processes) == len(self._slots) and all(p.ready for p in list(self._processes.values()))

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

    def position(self, ticket: Ticket[Any]) -> int:
        """See `Ticket.position`."""
        with self._changed:
            return self._waiting.index(ticket) + len(self._running) if ticket in self._waiting else 0

    def cancel(self, ticket: Ticket[Any]) -> None:
        """See `Ticket.cancel`. A process that works on it is asked to stop, and killed if it does not."""
        with self._changed:
            if ticket.done:
                return
            process = self._running.get(ticket)
            with contextlib.suppress(ValueError):
                self._waiting.remove(ticket)
            ticket.finish(error=RequestCancelled("The request was cancelled."))
            self._changed.notify_all()
        if process is not None:
            threading.Thread(target=self._stop, args=[process, ticket], daemon=True).start()

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
        for slot in self._slots:
            slot.join(10)
        atexit.unregister(self.close)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self, slot: int) -> None:
        """The life of one slot: a process, its requests one by one, another process when it ends."""
        failures = 0
        while not self._closing:
            process = self._start(slot)
            if process is not None:
                how = self._run(process)
                failures = 0 if process.ready or self._closing else failures + 1
                self._give_up(slot, process, how)
            else:
                failures += 1
            self._pause(failures)

    def _start(self, slot: int) -> Worker | None:
        with self._changed:
            if self._keep is not None:
                self._changed.wait_for(lambda: self._closing or len(self._waiting) > self._free())
            if self._closing:
                return None
            with contextlib.suppress(OSError):
                warm = self._keep is None
                self._processes[slot] = Worker(self._module, self._threads, warm, self.stall)
            return self._processes.get(slot)

    def _free(self) -> int:
        """Processes that work on nothing; a request that waits has one of them."""
        return len(self._processes) - len(self._running)

    def _run(self, process: Worker) -> str:
        """Serve until the process ends or is needed no more; returns in words how it ended."""
        try:
            while (ticket := self._next(process)) is not None:
                self._serve(process, ticket)
        except ChannelSilentError:
            process.kill()
            process.end()
            return f"it gave no sign of life for {self.stall:g} s"
        except ChannelClosedError:
            pass
        except Exception:  # noqa: BLE001  what makes no sense ends the process, never the thread that replaces it
            traceback.print_exc()
            process.kill()
        return process.end()

    def _next(self, process: Worker) -> Ticket[Any] | None:
        """Wait for a request; None when the pool closes or nothing came for long. Raises ChannelClosedError."""
        until = time.monotonic() + (float("inf") if self._keep is None else self._keep)
        with self._changed:
            while not self._closing and time.monotonic() < until:
                if process.note_ready():
                    self._changed.notify_all()
                if self._waiting:
                    ticket = self._waiting.popleft()
                    ticket.state = "running"
                    self._running[ticket] = process
                    return ticket
                self._changed.wait(IDLE)
        return None

    def _serve(self, process: Worker, ticket: Ticket[Any]) -> None:
        """Hand over one request and see it through. Raises ChannelClosedError if the process ends before it answers."""
        if not process.ready:
            ticket.progress = (0.0, "The reading process is starting")
        try:
            process.channel.send("request", ticket.request, ticket.number, type(ticket.request).__name__)
        except TypeError as unsendable:
            self._end(ticket, error=WorkerError(str(unsendable)))
            return
        while True:
            message = process.channel.receive()
            process.ready = process.ready or message.kind == "ready"
            if message.number != ticket.number:
                continue
            if message.kind == "progress":
                ticket.begun, ticket.progress = True, message.parse(tuple[float, str])
            elif message.kind == "error":
                return self._end(ticket, error=exception_of(message.parse(Failure)))
            elif message.kind == "result":
                return self._end(ticket, message.parse(ticket.request.answer_type()))

    def _end(self, ticket: Ticket[Any], answer: Any = None, error: Exception | None = None) -> None:
        with self._changed:
            self._running.pop(ticket, None)
            ticket.finish(answer, error)
            self._changed.notify_all()

    def _give_up(self, slot: int, process: Worker, how: str) -> None:
        """Only the request that the dead process worked on fails; one it had not taken up gets another chance."""
        with self._changed:
            self._processes.pop(slot)
            lost = [ticket for ticket, worker in self._running.items() if worker is process]
            for ticket in lost:
                del self._running[ticket]
                if ticket.begun or ticket.again or ticket.done:
                    sentence = f"The reading process ended while it worked on this ({how}). A new one is starting."
                    ticket.finish(error=WorkerDied(f"{sentence} Try again."))
                else:
                    ticket.again, ticket.state = True, "waiting"
                    self._waiting.appendleft(ticket)
            self._changed.notify_all()

    def _pause(self, failures: int) -> None:
        """After a process that never became ready: wait, longer each time; after STARTS of them turn away who asks."""
        if not failures:
            return
        sentence = "The reading process cannot be started on this machine; its log says why. Try again later."
        until = time.monotonic() + min(30.0, 2.0**failures / 4)
        with self._changed:
            while not self._closing and (left := until - time.monotonic()) > 0:
                while failures >= STARTS and self._waiting:
                    self._waiting.popleft().finish(error=WorkerDied(sentence))
                self._changed.wait(left)

    def _stop(self, process: Worker, ticket: Ticket[Any]) -> None:
        """Ask a process to leave a request alone; kill it if it does not. One that is warming up will see in time."""
        with contextlib.suppress(ChannelClosedError):
            process.channel.send("cancel", None, ticket.number)
        time.sleep(GRACE)
        if self._running.get(ticket) is process and ticket.begun:
            process.kill()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
