"""What whoever asked holds in the hand: where the request stands, and in the end its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

from kdlight.workers.errors import RequestCancelled
from kdlight.workers.requests import Request

State = Literal["waiting", "running", "done", "failed", "cancelled"]


class Ticket:
    """One request on its way. Safe to ask from any thread; it changes only through the Workers that gave it."""

    def __init__(
        self, number: int, request: Request, place: Callable[[Ticket], int], drop: Callable[[Ticket], None]
    ) -> None:
        self.number = number
        self.request = request
        self.state: State = "waiting"
        self.progress: tuple[float, str] = (0.0, "")
        """Share done, 0 to 1, and words."""
        self.begun = False
        """Whether a worker said that it has taken it up; until then a running ticket waits for its warm-up."""
        self.again = False
        """Whether a process ended before it took this up, so that another was given it."""
        self._place = place
        self._drop = drop
        self._over = threading.Event()
        self._answer: Any = None
        self._error: Exception | None = None

    @property
    def position(self) -> int:
        """How many requests are worked on or wait before this one; 0 once it is worked on."""
        return self._place(self)

    @property
    def done(self) -> bool:
        """True once `result` answers at once: with an answer, or by raising."""
        return self._over.is_set()

    def result(self, timeout: float | None = None) -> Any:
        """The answer. Raises what the worker raised, a WorkerError without an answer, TimeoutError if not yet there."""
        if not self._over.wait(timeout):
            raise TimeoutError("The answer is not there yet; ask again later or wait longer.")
        if self._error is not None:
            raise self._error
        return self._answer

    def cancel(self) -> None:
        """The answer is no longer wanted: leaves the queue, or stops the work. Nothing happens if it is over."""
        self._drop(self)

    def finish(self, answer: Any = None, error: Exception | None = None) -> None:
        """For Workers: the end, whichever it is. The first end stands; its sentence is raised by `result`."""
        if self._over.is_set():
            return
        self._answer, self._error = answer, error
        cancelled = isinstance(error, RequestCancelled)
        self.state = "cancelled" if cancelled else "failed" if error is not None else "done"
        if self.state == "done":
            self.progress = (1.0, self.progress[1])
        self._over.set()
