"""The cost of a corruption, against scikit-learn's balanced accuracy and against what is known by construction."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from kdlight.metrics import MetricError
from kdlight.metrics.robustness import corruption_cost

LABELS = np.repeat([0, 1, 2], [40, 30, 20])


def answers(share_right: float, seed: int) -> np.ndarray:
    """Probabilities (90, 3) of a model that is right on about a share of the images."""
    rng = np.random.default_rng(seed)
    told = np.where(rng.random(90) < share_right, LABELS, (LABELS + 1) % 3)
    return np.eye(3)[told] * 0.7 + 0.1


def test_each_change_is_that_of_scikit_learn() -> None:
    clean, corrupted = (
        {"teacher": answers(high, 0), "student": answers(low, 1)} for high, low in ((0.95, 0.9), (0.8, 0.5))
    )
    cost = corruption_cost("noise", 2.0, clean, corrupted, LABELS)
    for role, found in (("teacher", cost.teacher), ("student", cost.student)):
        new, old = (balanced_accuracy_score(LABELS, p[role].argmax(1)) for p in (corrupted, clean))
        assert found is not None
        assert found.value == pytest.approx(new - old)
        assert found.below_zero
    assert cost.gap is not None
    assert cost.teacher is not None
    assert cost.student is not None
    assert cost.gap.value == pytest.approx(cost.student.value - cost.teacher.value)


def test_an_image_that_no_answer_changes_on_costs_nothing() -> None:
    same = {"teacher": answers(0.8, 0), "student": answers(0.7, 1)}
    cost = corruption_cost("jpeg", 1.0, same, same, LABELS)
    for found in (cost.teacher, cost.student, cost.gap):
        assert found is not None
        assert (found.value, found.low, found.high) == (0, 0, 0)


def test_answers_to_other_images_are_refused() -> None:
    whole = {"teacher": answers(0.8, 0), "student": answers(0.7, 1)}
    short = {role: p[:-1] for role, p in whole.items()}
    with pytest.raises(MetricError):
        corruption_cost("blur", 1.0, whole, short, LABELS)
