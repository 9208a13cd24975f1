"""A worker without models: the word of a request says what it does. Run with `-m tests.workers.fake_child`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdlight.bundle import OverLimitError
from kdlight.explain import ExplainError, Progress
from kdlight.images import Image
from kdlight.inference import IneligibleError
from kdlight.workers.child import main
from kdlight.workers.requests import Request


@dataclass(frozen=True, slots=True)
class Said:
    word: str
    pid: int


@dataclass(frozen=True, eq=False)
class Act(Request[Said]):
    """word: what to do, and after a colon how."""

    word: Any


@dataclass(frozen=True, eq=False)
class Ask(Act):
    """What to do with a bundle, and how long a step of it may take."""

    bundle: Path = Path("evil")
    most: float | None = None

    @property
    def patience(self) -> float | None:
        return self.most

    @classmethod
    def answer_type(cls) -> Any:
        return Said


@dataclass(frozen=True, eq=False)
class Mirror(Request[Image]):
    """Gives the image back."""

    image: Image


@dataclass(frozen=True, eq=False)
class Lie(Request[Said]):
    """Gives an answer of another type than it should."""


def act(request: Act, progress: Progress) -> Said:
    word, _, rest = str(request.word).partition(":")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "sleep":
        for step in range(round(float(rest) * 100)):
            progress(step / (float(rest) * 100), "asleep")
            time.sleep(0.01)
    if word == "eat":
        eaten = bytes(int(float(rest) * 2**20))
        rest = str(len(eaten) >> 20)
    if word == "hang":
        time.sleep(600)
    if word == "raise":
        errors: dict[str, Exception] = {
            "over": OverLimitError("Too much."),
            "value": ValueError("A plain mistake."),
            "fault": KeyError("gone"),
        }
        raise {**errors, "explain": ExplainError("No map."), "reasons": IneligibleError(("One.", "Two."))}[rest]
    return Said(rest, os.getpid())


def mirror(request: Mirror, progress: Progress) -> Image:
    return request.image


def lie(request: Lie, progress: Progress) -> Any:
    return {"word": 1}


HERE = "tests.workers.fake_child"
FUNCTIONS = {Act: f"{HERE}:act", Ask: f"{HERE}:act", Mirror: f"{HERE}:mirror", Lie: f"{HERE}:lie"}


def warm_up(threads: int) -> Iterator[str]:
    if os.environ.get("FAKE_CHILD_BROKEN"):
        sys.exit(3)
    if marker := os.environ.get("FAKE_CHILD_SLOW_START"):
        while not Path(marker).exists():
            time.sleep(0.02)
    yield f"{threads} threads"


if __name__ == "__main__":
    main(warm_up, FUNCTIONS)  # type: ignore[arg-type]
