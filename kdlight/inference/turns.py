"""Times of several ways to do the same, each a few times in a row, as one model at work is used."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kdlight.stopwatch import Progress

Call = Callable[[], Any]
BLOCK = 5
"""Calls of one way in a row that are timed."""
LEAD = 2
"""Calls before them that are not: the timed ones find the caches as their own way left them."""


def blocks(
    ways: Mapping[str, Call], runs: int, warmups: int, rng: np.random.Generator, progress: Progress | None = None
) -> dict[str, list[float]]:
    """Milliseconds of `runs` calls of each way: BLOCK in a row, the ways' blocks in an order drawn anew each round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    skipped, total = -(-warmups // BLOCK), -(-(warmups + runs) // BLOCK)
    for number in range(total):
        for name in rng.permutation(list(ways)).tolist():
            taken = [_time(ways[name]) for _ in range(LEAD + BLOCK)][LEAD:]
            if number >= skipped:
                times[name] += taken
        if progress is not None:
            progress(number + 1, total)
    return {name: taken[:runs] for name, taken in times.items()}


def _time(call: Call) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000
