"""Turns are fair, warm-ups are left out, and a report's numbers are those of the times."""

import numpy as np
import pytest

from kdlight.benchmark import timer
from kdlight.benchmark.timer import Way, interleave, ratio, row


def test_every_round_calls_each_way_once_and_warmups_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now, order = [0.0], []
    monkeypatch.setattr(timer.time, "perf_counter", lambda: now[0])

    def way(name: str, seconds: float) -> None:
        order.append(name)
        now[0] += seconds * (10 if len(order) <= 6 else 1)  # the first three rounds are slow

    seen: list[tuple[int, int]] = []
    ways = {"a": lambda: way("a", 0.001), "b": lambda: way("b", 0.004)}
    times = interleave(ways, runs=20, warmups=3, progress=lambda done, total: seen.append((done, total)))
    assert times["a"] == pytest.approx([1.0] * 20)
    assert times["b"] == pytest.approx([4.0] * 20)
    rounds = [tuple(order[k : k + 2]) for k in range(0, len(order), 2)]
    assert set(rounds) == {("a", "b"), ("b", "a")}
    assert len(rounds) == 23
    assert seen == [(done, 23) for done in range(1, 24)]


def test_blocks_count_what_follows_the_lead_and_the_warm_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a made-up clock: call n of a way takes n milliseconds of its own speed."""
    calls: list[str] = []

    def clock(call: Way) -> float:
        name = call()
        calls.append(name)
        return float(calls.count(name))

    monkeypatch.setattr(timer, "milliseconds", clock)
    steps: list[tuple[int, int]] = []
    ways = {name: (lambda name=name: name) for name in ("a", "b", "c")}
    times = interleave(ways, 12, 10, 0, lambda done, total: steps.append((done, total)), block=5, lead=2)
    # blocks of 7 calls, the first 2 of each uncounted; 2 blocks of warm-ups, then 3 of which 12 calls are kept
    assert times == {name: [17.0, 18, 19, 20, 21, 24, 25, 26, 27, 28, 31, 32] for name in "abc"}
    assert steps == [(n, 5) for n in range(1, 6)]
    rows = [calls[i : i + 7] for i in range(0, len(calls), 7)]
    assert all(len(set(row)) == 1 for row in rows)
    orders = {tuple(row[0] for row in rows[i : i + 3]) for i in range(0, 15, 3)}
    assert {frozenset(order) for order in orders} == {frozenset("abc")}
    assert len(orders) > 1


def test_a_ratio_pairs_the_times_of_one_round() -> None:
    """A machine that is twice as slow in every second round changes no ratio."""
    busy = np.tile([1.0, 2.0], 5)
    assert ratio({"a": list(3 * busy), "b": list(2 * busy)}, "a", "b") == pytest.approx(1.5)


def test_a_row_has_median_and_95th_percentile() -> None:
    timed = row("x", [float(value) for value in range(101)])
    assert (timed.name, timed.p50_ms, timed.p95_ms) == ("x", 50.0, 95.0)
