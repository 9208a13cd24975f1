"""What stands for a request on its way: where it is, how far, and in the end its answer."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from kdlight.workers.requests import R, Request

if TYPE_CHECKING:
    from kdlight.workers.pool import Workers


class Ticket(Generic[R]):
    """One request on its way. Safe to ask from any thread; it changes only through the Workers that gave it."""

    def __init__(self, number: int, request: Request[R], workers: Workers) -> None:
        self.number = number
        self.request = request
        self.progress: tuple[float, str] = (0.0, "")
        """Share done, 0 to 1, and words."""
        self.bundle: Path | None = getattr(request, "bundle", None)
        """Whose models it asks."""
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
        if error is not None:
            self._future.set_exception(error)
        else:
            self.progress = (1.0, self.progress[1])
            self._future.set_result(answer)
