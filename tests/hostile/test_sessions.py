"""Twenty people at once on one server: each is shown their own scan and nobody else's, and all of it is given back."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image

from tests.served import Window, ask, memory

Trials = Callable[[], Iterator[np.random.Generator]]
PEOPLE = 20
VISITS, SIDE = 3, 40
BOUND = 60.0
"""MB that the server may hold more than before, once everybody has left."""


def scan(person: int, visit: int) -> np.ndarray:
    """A picture uint8 (SIDE, SIDE) that nobody else has."""
    return np.random.default_rng([person, visit]).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)


def visited(server: str, person: int, visit: int) -> tuple[Window, str]:
    """A window in which somebody has dropped their scan, and where its pixels lie."""
    window, file = Window(server), io.BytesIO()
    PIL.Image.fromarray(scan(person, visit)).save(file, "PNG")
    window.drop(file.getvalue())
    assert not window.elements("exception")
    place = re.search(rb"/frame/[\w-]+", b"".join(said.SerializeToString() for said in window.said))
    assert place is not None
    return window, place[0].decode()


def test_twenty_sessions_at_once_see_their_own_and_leave_nothing(server: str, home: Path, trials: Trials) -> None:
    with ThreadPoolExecutor(PEOPLE) as people:
        for visit, _ in zip(range(VISITS), trials(), strict=False):
            rows = list(people.map(lambda person, visit=visit: visited(server, person, visit), range(PEOPLE)))
            for person, (window, place) in enumerate(rows):
                shown = np.frombuffer(ask(server, place, headers={"Cookie": window.cookie}).body, dtype="<u2")
                np.testing.assert_array_equal(shown.reshape(SIDE, SIDE), scan(person, visit))
                stranger = rows[(person + 1) % PEOPLE][0]
                assert ask(server, place, headers={"Cookie": stranger.cookie}).status == 404
            if visit == 0:
                before = memory(home)  # with what the first visit brought for good
            for window, _ in rows:
                window.close()
    until = time.monotonic() + 60
    while memory(home) - before > BOUND and time.monotonic() < until:
        time.sleep(1)
    assert memory(home) - before < BOUND
