"""Turns are fair, warm-ups are left out, and a report's numbers are those of the times."""

import numpy as np
import pytest

from kdlight import stopwatch
from kdlight.stopwatch import race, ratio, row


def test_every_round_calls_each_way_once_and_warmups_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now, order = [0.0], []
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])

    def way(name: str, seconds: float) -> None:
        order.append(name)
        now[0] += seconds * (10 if len(order) <= 6 else 1)  # the first three rounds are slow

    seen: list[tuple[int, int]] = []
    ways = {"a": lambda: way("a", 0.001), "b": lambda: way("b", 0.004)}
    times = race(ways, rounds=20, warmups=3, progress=lambda done, total: seen.append((done, total)))
    assert times["a"] == pytest.approx([1.0] * 20)
    assert times["b"] == pytest.approx([4.0] * 20)
    rounds = [tuple(order[k : k + 2]) for k in range(0, len(order), 2)]
    assert set(rounds) == {("a", "b"), ("b", "a")}
    assert len(rounds) == 23
    assert seen == [(done, 23) for done in range(1, 24)]


def test_a_ratio_pairs_the_times_of_one_round() -> None:
    """A machine that is twice as slow in every second round changes no ratio."""
    busy = np.tile([1.0, 2.0], 5)
    assert ratio({"a": list(3 * busy), "b": list(2 * busy)}, "a", "b") == pytest.approx(1.5)


def test_a_row_has_median_and_95th_percentile() -> None:
    assert row("x", [float(value) for value in range(101)]) == {"name": "x", "p50_ms": 50.0, "p95_ms": 95.0}
