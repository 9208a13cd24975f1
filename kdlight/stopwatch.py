"""Times of several ways to do the same, taken in turns, so that a busy moment hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Progress = Callable[[int, int], None]


def race(
    ways: Mapping[str, Callable[[], Any]], rounds: int, warmups: int, seed: int = 0, progress: Progress | None = None
) -> dict[str, list[float]]:
    """Milliseconds of each call, `rounds` of each way, after `warmups` rounds that are not counted.

    Every round calls each way once, in an order drawn anew. progress(done, total) counts rounds.
    """
    rng = np.random.default_rng(seed)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warmups + rounds):
        for name in rng.permutation(list(ways)).tolist():
            started = time.perf_counter()
            ways[name]()
            if number >= warmups:
                times[name].append((time.perf_counter() - started) * 1000)
        if progress is not None:
            progress(number + 1, warmups + rounds)
    return times


def row(name: str, taken: list[float]) -> dict[str, Any]:
    """A report's row: median and 95th percentile in milliseconds."""
    p50, p95 = np.percentile(taken, (50, 95)).tolist()
    return {"name": name, "p50_ms": p50, "p95_ms": p95}


def ratio(times: Mapping[str, list[float]], first: str, second: str) -> float:
    """How many times as long `first` takes as `second`: the median over rounds of the two times of one round."""
    return float(np.median(np.array(times[first]) / np.array(times[second])))
