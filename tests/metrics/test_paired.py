import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from kdlight import metrics

Make = Callable[..., tuple[np.ndarray, np.ndarray]]


def one_hot(tops: list[int], k: int = 3) -> np.ndarray:
    return np.eye(k)[tops]


def test_flips_count_who_is_right() -> None:
    found = metrics.flips(one_hot([0, 0, 1, 1, 2]), one_hot([0, 1, 0, 1, 1]), [0, 0, 0, 2, 0])
    assert found == metrics.FlipCounts(1, 1, 1, 1, 1)


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=60))
def test_flips_cover_every_image_once_and_agreement_counts_them(rows: list[tuple[int, int, int]]) -> None:
    a, b, y = (list(column) for column in zip(*rows, strict=True))
    found = metrics.flips(one_hot(a), one_hot(b), y)
    assert sum(dataclasses.astuple(found)) == len(rows)
    share = metrics.agreement(one_hot(a), one_hot(b), draws=5).value
    assert share == pytest.approx((found.both_right + found.both_wrong_alike) / len(rows))


def test_difference_of_a_model_to_itself_is_zero_and_a_worse_one_is_proven(random_case: Make) -> None:
    p, y = random_case(0, n=600)
    same = metrics.difference(metrics.auc, p, p, y, draws=100)
    assert same == metrics.Interval(0, 0, 0)
    assert same.spans_zero
    noise = metrics.softmax(np.random.default_rng(0).normal(size=p.shape))
    worse = metrics.difference(metrics.balanced_accuracy, p, noise, y)
    assert worse is not None
    assert not worse.spans_zero
    assert worse.value == pytest.approx(metrics.balanced_accuracy(p, y) - metrics.balanced_accuracy(noise, y))


def test_pairing_makes_the_interval_narrower_than_two_separate_ones(random_case: Make) -> None:
    p, y = random_case(1, n=400)
    near = metrics.softmax(np.log(p) + np.random.default_rng(0).normal(size=p.shape) * 0.1)
    paired = metrics.difference(metrics.accuracy, p, near, y)
    alone = metrics.interval(metrics.accuracy, p, y)
    assert paired is not None
    assert alone is not None
    assert paired.high - paired.low < (alone.high - alone.low) / 2


@pytest.mark.parametrize(("b", "c"), [(10, 3), (0, 5), (4, 4), (1, 0)])
def test_mcnemar_equals_the_two_sided_binomial_tail(b: int, c: int) -> None:
    y = np.zeros(b + c + 20, dtype=int)
    first, second = y.copy(), y.copy()
    second[:b] = 1
    first[b : b + c] = 1
    expected = min(1.0, 2 * scipy.stats.binom.cdf(min(b, c), b + c, 0.5))
    assert metrics.mcnemar(one_hot(list(first)), one_hot(list(second)), y) == pytest.approx(expected)


def test_mcnemar_of_equal_models_is_one(random_case: Make) -> None:
    p, y = random_case(2)
    assert metrics.mcnemar(p, p, y) == 1.0


def test_models_of_other_images_are_refused() -> None:
    with pytest.raises(metrics.MetricError, match=r"the same \(N, K\)"):
        metrics.agreement(one_hot([0, 1]), one_hot([0]))
