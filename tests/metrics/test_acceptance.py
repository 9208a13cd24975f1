"""Exact bounds against scipy's binomial test and by counting, and what is promised of pass, fail and too few."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from kdlight.metrics.acceptance import Change, Rate, clopper_pearson, more_cases, outcome


@pytest.mark.parametrize(("x", "n"), [(0, 10), (10, 10), (31, 38), (1, 1), (95, 100)])
@pytest.mark.parametrize("error", [0.05, 0.01])
def test_bounds_are_those_of_scipys_one_sided_tests(x: int, n: int, error: float) -> None:
    low, high = clopper_pearson(x, n, error)
    assert low == pytest.approx(binomtest(x, n, alternative="greater").proportion_ci(1 - error).low)
    assert high == pytest.approx(binomtest(x, n, alternative="less").proportion_ci(1 - error).high)


def test_of_nothing_nothing_is_known() -> None:
    assert outcome(Rate(0, 0), (0.9, 1.0), 0.05, 0.01) == ("too few", 0.0, 1.0)
    assert Rate(0, 0).value is None


def test_29_of_29_pass_a_bar_of_90_percent_and_28_of_28_do_not() -> None:
    """0.9^29 < 0.05 < 0.9^28."""
    assert outcome(Rate(29, 29), (0.9, 1.0), 0.05, 0.05)[0] == "pass"
    assert outcome(Rate(28, 28), (0.9, 1.0), 0.05, 0.05)[0] == "too few"
    assert more_cases(Rate(28, 28), (0.9, 1.0), 0.05, 0.05) == 1


@pytest.mark.parametrize(("rate", "wrong"), [(0.9, "pass"), (0.8999, "pass"), (0.9, "fail")])
def test_a_rate_at_its_bar_is_passed_or_failed_in_one_of_twenty_at_most(rate: float, wrong: str) -> None:
    """Summed over every count that can come, so without chance."""
    for n in (20, 60, 150):
        shares = binom.pmf(np.arange(n + 1), n, rate)
        outcomes = [outcome(Rate(x, n), (0.9, 1.0), 0.05, 0.05)[0] for x in range(n + 1)]
        assert sum(p for p, one in zip(shares, outcomes, strict=True) if one == wrong) <= 0.05
    assert outcomes[0] == "fail"
    assert outcomes[-1] == "pass"


@pytest.mark.parametrize(("x", "n", "bar"), [(46, 50, 0.85), (5, 5, 0.9), (0, 0, 0.9), (33, 40, 0.9)])
def test_so_many_more_cases_decide_with_a_power_of_80_percent(x: int, n: int, bar: float) -> None:
    """The power by its definition: of all counts that can come, those that either binomial test decides."""
    error = 0.05
    m = more_cases(Rate(x, n), (bar, 1.0), error, error)
    assert m is not None
    likely = min((bar + 1) / 2, x / n) if n else (bar + 1) / 2

    def power(m: int) -> float:
        new = np.arange(m + 1)
        passed = binom.sf(x + new - 1, n + m, bar) <= error
        failed = binom.cdf(x + new, n + m, bar) < error
        return float(binom.pmf(new, m, likely)[passed | failed].sum())

    assert power(m) >= 0.77
    assert power(round(0.7 * m)) < 0.8


def test_no_number_of_cases_tells_a_rate_that_lies_at_its_bar() -> None:
    assert more_cases(Rate(9_000, 10_000), (0.9, 1.0), 0.05, 0.05) is None


def test_a_calibration_passes_within_both_ends_and_fails_beyond_either() -> None:
    """The share right less the probability stated: 90 % are right."""
    told = {stated: outcome(Rate(900, 1000, stated), (-0.05, 0.05), 0.05, 0.01)[0] for stated in (0.9, 0.99, 0.8, 0.95)}
    assert told == {0.9: "pass", 0.99: "fail", 0.8: "fail", 0.95: "too few"}


def test_a_difference_is_bounded_by_what_was_lost_and_gained() -> None:
    low, high = Change(6, 2, 200).bounds(0.05)
    lost, gained = (binomtest(x, 200).proportion_ci(0.95, "exact") for x in (6, 2))  # two-sided: 0.025 at each end
    assert (low, high) == (pytest.approx(gained.low - lost.high), pytest.approx(gained.high - lost.low))
    assert Change(6, 2, 200).value == pytest.approx(-0.02)


def test_a_student_that_lost_as_much_as_the_bar_forbids_passes_in_one_of_twenty_at_most() -> None:
    """Lost 8 %, gained 3 %, at a bar of 5 %, by drawing 4,000 sets of 150 cases."""
    drawn = np.random.default_rng(0).multinomial(150, [0.08, 0.03, 0.89], 4000)
    low, _ = Change(drawn[:, 0], drawn[:, 1], 150).bounds(0.05)
    assert np.mean(low >= -0.05) <= 0.05


def test_a_difference_far_from_its_bar_needs_fewer_cases() -> None:
    near, far = (more_cases(Change(lost, 2, 100), (-0.1, 1.0), 0.05, 0.05) for lost in (9, 3))
    assert near is not None
    assert far is not None
    assert far < near
