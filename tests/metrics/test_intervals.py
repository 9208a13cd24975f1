import time
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from kdlight import metrics
from kdlight.metrics.intervals import bootstrap_weights, wilson

Make = Callable[..., tuple[np.ndarray, np.ndarray]]


def sure(right: np.ndarray) -> np.ndarray:
    """Probabilities (N, 2) of a model that says class 0 where `right`."""
    return np.stack([right * 0.8 + 0.1, 0.9 - right * 0.8], axis=1)


def test_draws_keep_the_class_counts_and_the_seed_decides() -> None:
    labels = np.repeat([0, 1, 2], [40, 9, 1])
    weights = np.concatenate(list(bootstrap_weights(labels, draws=200, seed=3)))
    assert weights.shape == (200, 50)
    for label, count in ((0, 40), (1, 9), (2, 1)):
        np.testing.assert_array_equal(weights[:, labels == label].sum(axis=1), count)
    np.testing.assert_allclose(weights[:, :40].mean(), 1)
    assert weights[:, :40].var() == pytest.approx(1 - 1 / 40, abs=0.05)
    again = np.concatenate(list(bootstrap_weights(labels, draws=200, seed=3)))
    np.testing.assert_array_equal(weights, again)


def test_groups_are_drawn_whole() -> None:
    groups = np.array(["b", "a", "b", "c", "a"])
    weights = np.concatenate(list(bootstrap_weights(np.zeros(5, dtype=int), groups, draws=100)))
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, 0] + weights[:, 1] + weights[:, 3], 3)


def test_interval_of_a_share_covers_the_truth_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros(150, dtype=int)
    held = 0
    for seed in range(200):
        found = metrics.interval(metrics.accuracy, sure(rng.random(150) < 0.8), labels, draws=400, seed=seed)
        assert found is not None
        held += found.low <= 0.8 <= found.high
    assert 180 <= held <= 198  # binomial(200, 0.95): 0.999 of its mass


def test_group_interval_covers_where_the_plain_one_is_too_sure() -> None:
    """Twenty groups of ten equal images carry the information of twenty images."""
    rng = np.random.default_rng(1)
    groups, labels = np.repeat(np.arange(40), 10), np.zeros(400, dtype=int)
    held = {"plain": 0, "grouped": 0}
    for seed in range(120):
        p = sure(np.repeat(rng.random(40) < 0.7, 10))
        for name, given in (("plain", None), ("grouped", groups)):
            found = metrics.interval(metrics.accuracy, p, labels, given, draws=300, seed=seed)
            assert found is not None
            held[name] += found.low <= 0.7 <= found.high
    assert held["grouped"] >= 104
    assert held["plain"] <= 72


def test_wilson_equals_scipy() -> None:
    for hits, n in ((5, 5), (0, 7), (30, 40)):
        found, expected = wilson(hits / n, n), scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_thousand_draws_over_a_thousand_images_take_under_two_seconds(random_case: Make) -> None:
    p, y = random_case(0, n=1000, k=7)
    start = time.perf_counter()
    metrics.report(p, y, list("abcdefg"))
    assert time.perf_counter() - start < 2


def test_an_interval_holds_its_value() -> None:
    rng = np.random.default_rng(2)
    p = rng.dirichlet([1, 1, 1], size=3000)
    y = np.array([rng.choice(3, p=row) for row in p])
    found = metrics.interval(metrics.ece, p, y, draws=200)
    assert found is not None
    assert found.low <= found.value <= found.high


def test_too_many_undefined_draws_give_no_bounds() -> None:
    y = np.array([0, 0, 0, 0, 1])
    groups = np.array([0, 1, 2, 3, 3])  # class 1 lives in one group of class 0's stratum
    found = metrics.interval(metrics.auc, sure(np.array([1, 1, 1, 0, 0])), y, groups)
    assert found is not None
    assert (found.low, found.high) == (None, None)
    assert found.spans_zero


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(metrics.MetricError, match="one group per image"):
        metrics.interval(metrics.accuracy, sure(np.ones(4)), np.zeros(4, dtype=int), np.zeros(3))


@pytest.mark.parametrize(
    ("interval", "spec", "expected"),
    [
        (metrics.Interval(0.917, 0.884, 0.951), "", "0.92 [0.88, 0.95]"),
        (metrics.Interval(0.9, 0.85, 0.95), ".3f", "0.900 [0.850, 0.950]"),
        (metrics.Interval(0.02, -0.01, 0.05).points, "+.1f", "+2.0 [-1.0, +5.0]"),
        (metrics.Interval(0.5), "", "0.50"),
    ],
)
def test_an_interval_is_written_in_one_way(interval: metrics.Interval, spec: str, expected: str) -> None:
    assert format(interval, spec) == expected


@pytest.mark.parametrize(
    ("interval", "sides"),
    [
        (metrics.Interval(0.2, 0.1, 0.3), (True, False, False)),
        (metrics.Interval(0.2, 0.0, 0.3), (False, True, False)),
        (metrics.Interval(-0.2, -0.3, -0.1), (False, False, True)),
        (metrics.Interval(0.2), (False, True, False)),
    ],
)
def test_the_bounds_decide_the_side_of_zero(interval: metrics.Interval, sides: tuple[bool, ...]) -> None:
    assert (interval.above_zero, interval.spans_zero, interval.below_zero) == sides
