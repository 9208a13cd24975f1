"""The drift test alarms as seldom as it says, sees what was planted, and its numbers are those of the definitions."""

from __future__ import annotations

import numpy as np
import pytest

from kdlight.metrics.drift import LEAST, class_mix, drift
from kdlight.metrics.ledger import holm

S = 12
"""Distance, odds, and level and spread of five stages."""


def summaries(n: int, rng: np.random.Generator) -> np.ndarray:
    """Correlated, skewed columns, as a network's are: (n, S)."""
    shared = rng.normal(size=(n, 2))
    return np.exp(0.5 * (shared @ np.linspace(-1, 1, 2 * S).reshape(2, S) + 0.5 * rng.normal(size=(n, S))))


def test_without_drift_it_alarms_in_at_most_one_of_twenty_sets() -> None:
    rng = np.random.default_rng(0)
    alarms = [bool(drift(summaries(80, rng), summaries(60, rng)).seen) for _ in range(400)]
    assert np.mean(alarms) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)
    assert any(alarms)  # a test that never alarms is none


def test_statistic_and_p_values_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(1)
    before, now = summaries(40, rng), summaries(30, rng) + np.linspace(0, 1, S)
    found = drift(before, now)
    for column, shift in enumerate(found.shifts):
        at = np.concatenate([before[:, column], now[:, column]])
        steps = [(part[:, column][None] <= at[:, None]).mean(axis=1) for part in (before, now)]
        assert shift.apart == pytest.approx(np.abs(steps[0] - steps[1]).max())
    raised = holm({str(i): shift.p for i, shift in enumerate(found.shifts)})
    assert [shift.adjusted for shift in found.shifts] == [raised[str(i)] for i in range(S)]
    assert [(s.what, s.stage) for s in found.shifts[:3]] == [("distance", None), ("odds", None), ("level", 1)]
    assert (found.shifts[6].stage, found.shifts[7].what, found.shifts[11].stage) == (5, "spread", 5)


def test_p_is_that_of_shuffled_sets() -> None:
    """By permutation, independent of the formula that is called."""
    rng = np.random.default_rng(2)
    before, now = summaries(30, rng), summaries(25, rng) + 0.25
    shift = drift(before, now).shifts[0]
    both, hits = np.concatenate([before[:, 0], now[:, 0]]), 0
    order = np.sort(both)
    for _ in range(2000):
        shuffled = rng.permutation(both)
        steps = [np.searchsorted(np.sort(part), order, "right") / len(part) for part in (shuffled[:30], shuffled[30:])]
        hits += np.abs(steps[0] - steps[1]).max() >= shift.apart - 1e-12
    assert shift.p == pytest.approx(hits / 2000, abs=0.03)


def test_a_shift_of_one_column_is_seen_there() -> None:
    rng = np.random.default_rng(3)
    now = summaries(60, rng)
    now[:, 4] *= 3
    assert [(s.what, s.stage) for s in drift(summaries(80, rng), now).seen] == [("level", 3)]


@pytest.mark.parametrize(("reference", "new"), [(80, LEAST - 1), (LEAST - 1, 80), (80, 0)])
def test_too_few_images_say_nothing(reference: int, new: int) -> None:
    rng = np.random.default_rng(4)
    found = drift(summaries(reference, rng), 100 + summaries(new, rng))
    assert (found.few, found.shifts, found.seen) == (True, (), ())


def test_the_class_mix_by_hand() -> None:
    found = class_mix({"a": 50, "b": 50}, {"a": 20, "b": 0, "c": 0}, ["a", "b", "c"])
    assert found is not None
    assert found.apart == 0.5
    expected = np.array([[100 * 70 / 120, 100 * 50 / 120], [20 * 70 / 120, 20 * 50 / 120]])
    square = ((np.array([[50, 50], [20, 0]]) - expected) ** 2 / expected).sum()
    from math import erfc, sqrt

    assert found.p == pytest.approx(erfc(sqrt(square / 2)))  # chi-square with one degree of freedom
    assert found.differs
    assert class_mix({"a": 50, "b": 50}, {"a": 9, "b": 10}, ["a", "b"]).differs is False  # type: ignore[union-attr]
    assert class_mix({}, {"a": 3}, ["a", "b"]) is None
    assert class_mix({"a": 3}, {"a": 3}, ["a", "b"]) is None
