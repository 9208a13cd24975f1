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
from typing import Any

import psutil

from kdlight.bundle import OverLimitError
from kdlight.processes import Channel, ChannelClosedError, ChannelSilentError, Failure, Process, cores
from kdlight.workers.errors import QueueFull, RequestCancelled, WorkerDied, WorkerError, exception_of
from kdlight.workers.proofs import PROVEN, proofs, told
from kdlight.workers.requests import R, Request, Verification, Verify
from kdlight.workers.strikes import Strikes
from kdlight.workers.ticket import Ticket

MODULE = "kdlight.workers.child"
STALL = 120.0
"""Seconds without a sign of life after which a worker is killed. Long work reports its progress."""
MEMORY = 6 * 2**30
"""Bytes that a process may take for its work, or three quarters of the machine's memory where that is less.

The largest network that has a name of ours, 232 million parameters, took 3.0 GB to load and 1.9 GB to read.
"""
GRACE = 5.0
"""Seconds that a worker has to stop a cancelled request before it is killed."""
IDLE = 0.5
"""Seconds between looks at an idle worker."""
STARTS = 3
"""Starts that may fail in a row before requests are turned away at once."""


class Worker(Process):
    """One process and its channel."""

    def __init__(self, module: str, threads: int, warm: bool, stall: float, memory: int) -> None:
        arguments = [*map(str, (os.getpid(), threads, memory)), *(["warm"] if warm else [])]
        super().__init__(module, *arguments, threads=threads)
        self.stall = stall
        self.channel = Channel(self.socket, stall)
        self.ready = False
        """Whether it said that it can be asked."""

    @property
    def patience(self) -> float:
        """Seconds without a sign of life that are too many."""
        return self.socket.gettimeout() or self.stall

    @patience.setter
    def patience(self, seconds: float) -> None:
        self.socket.settimeout(seconds)

    def note_ready(self) -> None:
        """Take note of what came unasked. Raises ChannelClosedError if it is gone."""
        while self.channel.waiting():
            self.ready = self.channel.receive().kind == "ready" or self.ready


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
        memory: int = MEMORY,
    ) -> None:
        self.queue = queue
        self.strikes = Strikes()
        self._memory = min(memory, psutil.virtual_memory().total * 3 // 4)
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
            if not isinstance(request, Verify) and (refused := self.strikes.refusal(ticket.bundle)):
                ticket.finish(error=refused)
                return ticket
            self._waiting.append(ticket)
            self._changed.notify_all()
        return ticket

    @property
    def idle(self) -> bool:
        """Whether nothing is worked on and nothing waits."""
        with self._changed:
            return not self._running and not self._waiting

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in list(self._processes.values())]

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
            if self._keep is not None:  # as many as work, and one for each that waits
                self._changed.wait_for(
                    lambda: self._closing or len(self._waiting) + len(self._running) > len(self._processes)
                )
            if self._closing:
                return None
            with contextlib.suppress(OSError):
                warm = self._keep is None
                self._processes[slot] = Worker(self._module, self._threads, warm, self.stall, self._memory)
            return self._processes.get(slot)

    def _run(self, process: Worker) -> str:
        """Serve until the process ends or is needed no more; returns in words how it ended."""
        try:
            while self._serve_next(process):
                pass
        except ChannelSilentError:
            process.kill()
            silence = process.patience
            process.end()
            return f"it gave no sign of life for {silence:g} s"
        except ChannelClosedError:
            pass
        except Exception:  # noqa: BLE001  what makes no sense ends the process, never the thread that replaces it
            traceback.print_exc()
            process.kill()
        return process.end()

    def _serve_next(self, process: Worker) -> bool:
        """One request, of which nothing is kept while the next is waited for; False when no more are served."""
        ticket = self._next(process)
        if ticket is not None:
            self._serve(process, ticket)
        return ticket is not None

    def _next(self, process: Worker) -> Ticket[Any] | None:
        """Wait for a request; None when the pool closes or nothing came for long. Raises ChannelClosedError."""
        until = time.monotonic() + (float("inf") if self._keep is None else self._keep)
        with self._changed:
            while not self._closing and time.monotonic() < until:
                process.note_ready()
                if self._waiting:
                    ticket = self._waiting.popleft()
                    self._running[ticket] = process
                    return ticket
                self._changed.wait(IDLE)
        return None

    def _serve(self, process: Worker, ticket: Ticket[Any]) -> None:
        """Hand over one request and see it through. Raises ChannelClosedError if the process ends before it answers."""
        if not process.ready:
            ticket.progress = (0.0, "The reading process is starting")
        try:
            process.channel.send("request", told(ticket.request), ticket.number, type(ticket.request).__name__)
        except TypeError as unsendable:
            self._end(ticket, error=WorkerError(str(unsendable)))
            return
        process.patience = self.stall
        while True:
            message = process.channel.receive()
            process.ready = process.ready or message.kind == "ready"
            if message.number != ticket.number:
                continue
            if message.kind == "progress":
                ticket.begun, ticket.progress = True, message.parse(tuple[float, str])
                process.patience = ticket.request.patience or self.stall
            elif message.kind == "error":
                failure = message.parse(Failure)
                if failure.name == OverLimitError.__name__:
                    self.strikes.add(ticket.bundle)
                return self._end(ticket, error=exception_of(failure))
            elif message.kind == "result":
                answer = message.parse(ticket.request.answer_type())
                if isinstance(answer, Verification) and answer.ok:
                    self.strikes.clear(ticket.bundle)
                PROVEN.update(proofs(answer))
                return self._end(ticket, answer)

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
                if ticket.begun and not ticket.done and not self._closing:
                    self.strikes.add(ticket.bundle)
                if ticket.begun or ticket.again or ticket.done:
                    sentence = f"The reading process ended while it worked on this ({how}). A new one is starting."
                    again = self.strikes.refusal(ticket.bundle) or "Try again."
                    ticket.finish(error=WorkerDied(f"{sentence} {again}"))
                else:
                    ticket.again = True
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
