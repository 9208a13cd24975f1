"""The stop rule: its evidence by another writing, its false alarms while the bar is kept, its power once it is not."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from kdlight.metrics.sequential import DROPS, evidence, look

LIMIT = 20.0


def by_hand(batches: list[tuple[int, int]], bar: float) -> float:
    """Every stake on its own: laid before look k, 1 / (k (k + 1)), and multiplied by the odds of all batches since."""
    total = 1 / (len(batches) + 1)
    for k in range(1, len(batches) + 1):
        for drop in DROPS:
            rate, value = max(bar - drop, bar / 10), 1 / (k * (k + 1)) / len(DROPS)
            for right, n in batches[k - 1 :]:
                value *= math.prod([rate / bar] * right + [(1 - rate) / (1 - bar)] * (n - right))
            total += value
    return total


def test_the_evidence_is_that_of_all_stakes() -> None:
    batches, logs = [(9, 10), (0, 0), (4, 7), (1, 1), (12, 20)], ()
    for number, (right, n) in enumerate(batches):
        logs = look(logs, number, right, n, 0.9)
        assert evidence(logs, number + 1) == pytest.approx(by_hand(batches[: number + 1], 0.9))
    assert evidence((), 0) == 1


@pytest.mark.parametrize("bar", [0.5, 0.9, 0.98])
def test_no_bet_gains_while_the_bar_is_kept(bar: float) -> None:
    """What is expected of the next case is the evidence as it is, or less where the rate is better than the bar."""
    logs = look((), 0, 7, 10, bar)
    now = evidence(logs, 1)
    right, wrong = (evidence(look(logs, 1, x, 1, bar), 2) for x in (1, 0))
    assert bar * right + (1 - bar) * wrong == pytest.approx(now)
    better = (bar + 1) / 2
    assert better * right + (1 - better) * wrong < now


def stops(rates: list[float], bar: float, runs: int, seed: int = 0) -> np.ndarray:
    """The case after which each of so many series stops, looked at after every case; infinite where it never does."""
    rng, first = np.random.default_rng(seed), np.full(runs, np.inf)
    for run in range(runs):
        logs: tuple[float, ...] = ()
        for case, right in enumerate(rng.random(len(rates)) < rates):
            logs = look(logs, case, int(right), 1, bar)
            if evidence(logs, case + 1) >= LIMIT:
                first[run] = case + 1
                break
    return first


def test_a_kept_bar_is_stopped_in_one_of_twenty_series_at_most() -> None:
    """1,000 series of 300 cases of the class, the sensitivity exactly at the bar, a look after each case: 2.8 %."""
    assert np.isfinite(stops([0.9] * 300, 0.9, 1000)).mean() <= 0.05


def test_a_drop_by_ten_points_is_found() -> None:
    """From the first case on after 67 cases in the median, after 100 good cases some 136 cases later."""
    at_once = stops([0.8] * 300, 0.9, 200)
    assert np.median(at_once) < 90
    assert np.isfinite(at_once).mean() > 0.95
    later = stops([0.9] * 100 + [0.8] * 400, 0.9, 200)
    assert np.median(later) - 100 < 160


def test_the_longer_all_is_well_the_less_it_speaks_against_the_bundle() -> None:
    logs, told = (), []
    for number in range(30):
        logs = look(logs, number, 10, 10, 0.9)
        told.append(evidence(logs, number + 1))
    assert all(after < before for before, after in pairwise(told))
