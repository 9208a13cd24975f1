"""Predictive values: Bayes' rule by counting people, and intervals that hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from kdlight.metrics import MetricError, Report
from kdlight.metrics.intervals import Interval, wilson
from kdlight.metrics.predictive import facts


def report(hit: int, sick: int, clear: int, well: int) -> Report:
    """`hit` of `sick` images found, `clear` of `well` ones passed over."""
    return Report(
        n=sick + well,
        recall={"mel": wilson(hit / sick, sick)},
        specificity={"mel": wilson(clear / well, well)},
        counts={"mel": sick},
    )


def test_bayes_by_counting_ten_thousand_people() -> None:
    """Sensitivity 45 of 50, specificity 180 of 200; of 10,000 people 200 have it: 180 and 980 are called."""
    found = facts(report(45, 50, 180, 200), "mel", 0.02)
    assert found.ppv is not None
    assert found.npv is not None
    assert found.ppv.value == pytest.approx(180 / (180 + 980))
    assert found.npv.value == pytest.approx(8820 / (8820 + 20))
    assert (found.positives, found.negatives) == (50, 200)


def test_at_the_test_sets_own_share_ppv_is_the_share_of_calls_that_were_right() -> None:
    found = facts(report(45, 50, 180, 200), "mel", 50 / 250)
    assert found.ppv is not None
    assert found.ppv.value == pytest.approx(45 / (45 + 20))


@pytest.mark.parametrize(
    ("sens", "spec", "sick", "well", "prevalence"), [(0.9, 0.9, 60, 200, 0.02), (0.6, 0.97, 40, 300, 0.1)]
)
def test_intervals_hold_the_true_value_as_often_as_they_say(
    sens: float, spec: float, sick: int, well: int, prevalence: float
) -> None:
    """2,000 tests of one true pair of rates: between 93 and 97 % (98 % where the small counts are coarse)."""
    rng = np.random.default_rng(0)
    ppv = sens * prevalence / (sens * prevalence + (1 - spec) * (1 - prevalence))
    npv = spec * (1 - prevalence) / (spec * (1 - prevalence) + (1 - sens) * prevalence)
    held = {"ppv": 0, "npv": 0}
    for hit, clear in zip(rng.binomial(sick, sens, 2000), rng.binomial(well, spec, 2000), strict=True):
        found = facts(report(int(hit), sick, int(clear), well), "mel", prevalence)
        for name, truth in (("ppv", ppv), ("npv", npv)):
            interval = getattr(found, name)
            held[name] += interval.low <= truth <= interval.high
    assert 0.93 <= held["ppv"] / 2000 <= 0.98
    assert 0.93 <= held["npv"] / 2000 <= 0.98


def test_nothing_wrong_and_nothing_right_keep_an_interval() -> None:
    perfect = facts(report(20, 20, 100, 100), "mel", 0.05)
    assert perfect.ppv is not None
    assert perfect.ppv.value == 1
    assert perfect.ppv.low is not None
    assert 0 < perfect.ppv.low < 0.9
    assert perfect.ppv.high == 1
    blind = facts(report(0, 20, 90, 100), "mel", 0.05)
    assert blind.ppv is not None
    assert blind.ppv.value == 0
    assert blind.ppv.high is not None
    assert 0 < blind.ppv.high < 1
    silent = facts(report(0, 20, 100, 100), "mel", 0.05)
    assert silent.ppv is None  # it is never answered
    assert silent.npv is not None


def test_no_prevalence_no_predictive_value() -> None:
    found = facts(report(45, 50, 180, 200), "mel")
    assert "ppv" not in found.to_json()
    assert found.sensitivity == wilson(0.9, 50)
    for wrong in (0.0, 1.0, 2.0):
        with pytest.raises(MetricError, match="prevalence"):
            facts(report(45, 50, 180, 200), "mel", wrong)


def test_a_class_without_an_image_has_none() -> None:
    found = facts(Report(n=9, recall={"mel": None}, specificity={"mel": Interval(0.9, 0.8, 1.0)}), "mel", 0.1)
    assert (found.sensitivity, found.ppv, found.npv) == (None, None, None)
