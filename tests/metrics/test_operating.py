"""Thresholds for a sensitivity: what they promise held by simulation, what they give by counting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from kdlight.metrics import conformal_qhat
from kdlight.metrics.operating import SLACK, chosen_points, measured_points, needed, rates, threshold_for


@pytest.mark.parametrize(("aim", "n"), [(0.8, 4), (0.9, 9), (0.95, 19), (0.98, 49)])
def test_one_image_too_few_promises_nothing(aim: float, n: int) -> None:
    scores = np.linspace(0.1, 0.9, n)
    assert needed(aim) == n
    assert threshold_for(aim, scores) == pytest.approx(scores[0] - SLACK)
    assert threshold_for(aim, scores[1:]) is None
    assert threshold_for(aim, scores, units=n - 1) is None  # as many images, of fewer people


@pytest.mark.parametrize("n", [9, 30, 84])
@pytest.mark.parametrize("aim", [0.8, 0.9])
def test_new_images_reach_the_threshold_as_often_as_promised(aim: float, n: int) -> None:
    """Of scores uniform in 0 to 1 the share above a threshold t is 1 - t exactly; its law is Beta(n + 1 - k, k)."""
    rng = np.random.default_rng(0)
    found = np.array([1 - threshold_for(aim, rng.random(n)) for _ in range(4000)])  # type: ignore[operator]
    k = int(np.floor((n + 1) * (1 - aim) + 1e-9))
    assert found.mean() == pytest.approx(beta(n + 1 - k, k).mean(), abs=4 * found.std() / np.sqrt(4000))
    assert aim - 0.005 <= found.mean() <= aim + 1 / (n + 1) + 0.005


def test_it_is_the_class_conditional_conformal_threshold() -> None:
    scores = np.random.default_rng(1).random(60)
    p = np.stack([scores, 1 - scores], axis=1)
    found = threshold_for(0.9, scores)
    assert found == pytest.approx(1 - conformal_qhat(p, np.zeros(60, dtype=int), 0.1) - SLACK)


def test_a_model_that_says_the_same_of_every_image_calls_all_of_them_on_every_engine() -> None:
    here = np.full((40, 2), 0.5)
    there = here + np.random.default_rng(3).uniform(-5e-5, 5e-5, (40, 2))
    labels = np.arange(40) % 2
    chosen = chosen_points(0.9, {"teacher": here, "student": here}, labels, 1)
    found = measured_points(chosen, {"teacher": there, "student": here}, labels, 1)
    for role in ("teacher", "student"):
        assert (found.at(role).sensitivity.value, found.at(role).specificity.value) == (1, 0)


LABELS = np.repeat([0, 1, 2], [50, 30, 20])


def probabilities(shift: float) -> np.ndarray:
    rng = np.random.default_rng(2)
    p = np.full((100, 3), 0.1)
    p[:, 1] = np.clip(rng.normal(0.3 + shift * (LABELS == 1), 0.1), 0.01, 0.97)
    p[:, 0] = 1 - p[:, 1] - 0.01
    p[:, 2] = 0.01
    return p


def test_what_a_threshold_gives_is_what_counting_gives() -> None:
    both = {"teacher": probabilities(0.4), "student": probabilities(0.1)}
    points = measured_points(chosen_points(0.85, both, LABELS, 1), both, LABELS, 1)
    assert (points.aim, points.n) == (0.85, 30)
    assert [point.aim for point in points.teacher] == [0.8, 0.85, 0.9, 0.95, 0.98]
    for role, p in both.items():
        for point in getattr(points, role):
            if point.aim == 0.98:  # 49 would be needed
                assert (point.threshold, point.sensitivity, point.specificity) == (None, None, None)
                continue
            called = p[:, 1] >= point.threshold
            assert point.sensitivity.value == pytest.approx(called[LABELS == 1].mean())
            assert point.sensitivity.value >= point.aim  # on the images it was chosen on
            assert point.specificity.value == pytest.approx((~called)[LABELS != 1].mean())
            assert point.specificity.low <= point.specificity.value <= point.specificity.high
    strict, loose = points.at("student", 0.95), points.at("student", 0.8)
    assert strict.threshold < loose.threshold
    assert strict.specificity.value <= loose.specificity.value
    assert points.at("teacher").specificity.value > points.at("student").specificity.value


def test_a_sensitivity_between_two_points_takes_the_stricter_one() -> None:
    points = chosen_points(0.92, {"teacher": probabilities(0.4), "student": probabilities(0.4)}, LABELS, 1)
    assert points.at("teacher").aim == 0.92
    assert points.at("teacher", 0.9).aim == 0.9
    assert points.at("teacher", 0.91).aim == 0.92
    assert points.at("teacher", 0.99).aim == 0.98


def test_rates_of_all_or_none_have_wilsons_interval() -> None:
    """5 of 5: by hand, Wilson's lower bound is 1 / (1 + 1.96^2 / 5)."""
    called = np.arange(12) < 5
    sensitivity, specificity = rates(called, called)
    assert sensitivity is not None
    assert specificity is not None
    assert sensitivity.low == pytest.approx(1 / (1 + 1.959964**2 / 5), abs=1e-6)
    assert specificity.low == pytest.approx(1 / (1 + 1.959964**2 / 7), abs=1e-6)
    assert rates(called, np.zeros(12, dtype=bool))[0] is None
