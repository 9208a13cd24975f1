"""Turns are shared out by session: whoever asks for much waits for himself."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from kdlight.images.turns import NOBODY, Turns


class Stand:
    """Asks for turns and notes who got one; `let_go` ends the turn of one of them."""

    def __init__(self, turns: Turns) -> None:
        self.turns, self.served, self.ends = turns, [], {}
        self.threads: list[threading.Thread] = []

    def ask(self, name: str, session: str) -> None:
        self.ends[name] = threading.Event()
        self.threads.append(threading.Thread(target=self._serve, args=[name, session]))
        self.threads[-1].start()
        time.sleep(0.02)

    def let_go(self, name: str) -> None:
        self.ends[name].set()
        time.sleep(0.02)

    def _serve(self, name: str, session: str) -> None:
        with self.turns.turn(session):
            self.served.append(name)
            self.ends[name].wait(5)


@contextmanager
def stand(total: int, shared: int) -> Iterator[Stand]:
    one = Stand(Turns(total, shared))
    yield one
    for end in one.ends.values():
        end.set()
    for thread in one.threads:
        thread.join()
    assert not one.turns._running
    assert not one.turns._waiting


def test_a_session_has_one_turn_at_a_time() -> None:
    with stand(total=4, shared=2) as row:
        for name in ("a1", "a2", "a3"):
            row.ask(name, "a")
        row.ask("b1", "b")
        assert row.served == ["a1", "b1"]
        row.let_go("a1")
        assert row.served == ["a1", "b1", "a2"]


def test_sessions_that_wait_are_served_in_rotation() -> None:
    with stand(total=1, shared=1) as row:
        row.ask("a1", "a")
        for name in ("a2", "a3", "a4", "b1", "b2", "c1"):
            row.ask(name, name[0])
        for name in ("a1", "a2", "b1", "c1", "a3", "b2"):
            assert row.served[-1] == name
            row.let_go(name)
        assert row.served == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


def test_commands_share_their_part_and_leave_the_rest_to_sessions() -> None:
    with stand(total=4, shared=2) as row:
        for name in ("1", "2", "3"):
            row.ask(name, NOBODY)
        row.ask("a1", "a")
        assert row.served == ["1", "2", "a1"]


def test_who_stops_waiting_leaves_no_place_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with stand(total=1, shared=1) as row:
        row.ask("a1", "a")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Event, "wait", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt), row.turns.turn("b"):
                pass
        row.ask("c1", "c")
        row.let_go("a1")
        assert row.served == ["a1", "c1"]


def test_never_more_than_may_and_nobody_is_forgotten() -> None:
    turns, lock, running, most = Turns(3, 2), threading.Lock(), Counter[str](), Counter[str]()
    rng = np.random.default_rng(0)
    sessions = [str(rng.choice(["a", "b", "c", "d", NOBODY])) for _ in range(300)]

    def work(session: str) -> None:
        with turns.turn(session):
            with lock:
                running[session] += 1
                most["all"] = max(most["all"], running.total())
                most[session] = max(most[session], running[session])
            time.sleep(0.0005)
            with lock:
                running[session] -= 1

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(work, sessions))
    assert most["all"] == 3
    assert most[NOBODY] <= 2
    assert max(most[name] for name in "abcd") == 1
    assert not turns._running
