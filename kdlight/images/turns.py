"""Turns at the decoding processes: who waits is served by session, in rotation, so that a slow file delays its own."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator

NOBODY = ""
"""The session of commands and of programs that serve one person."""


class Turns:
    """At most `total` turns at once, of which a session has one and NOBODY `shared`. Safe to call from threads."""

    def __init__(self, total: int, shared: int) -> None:
        self._total, self._shared = total, shared
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[threading.Event]] = OrderedDict()

    @contextlib.contextmanager
    def turn(self, session: str = NOBODY) -> Iterator[None]:
        """Wait for a turn, and have it for the length of the block."""
        ticket = threading.Event()
        with self._lock:
            self._waiting.setdefault(session, deque()).append(ticket)
            self._hand_out()
        try:
            ticket.wait()
            yield
        finally:
            with self._lock:
                self._give_back(session, ticket)
                self._hand_out()

    def _hand_out(self) -> None:
        """Give what is free to those who wait: to the sessions in rotation, in each to who came first."""
        while self._running.total() < self._total:
            session = next((name for name in self._waiting if self._may(name)), None)
            if session is None:
                return
            tickets = self._waiting[session]
            tickets.popleft().set()
            self._running[session] += 1
            self._waiting.move_to_end(session)
            if not tickets:
                del self._waiting[session]

    def _may(self, session: str) -> bool:
        return self._running[session] < (self._shared if session == NOBODY else 1)

    def _give_back(self, session: str, ticket: threading.Event) -> None:
        """A turn that was had, or a place in the row where the wait was broken off."""
        if ticket.is_set():
            self._running[session] -= 1
            self._running += Counter()  # forgets who has none
            return
        self._waiting[session].remove(ticket)
        if not self._waiting[session]:
            del self._waiting[session]
