"""The leak meter against scores of each part by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from kdlight.metrics.twins import twin_scores

LABELS = np.tile([0, 1], 40)
TWINS = np.arange(80) < 30


def answers(share_right: np.ndarray, seed: int) -> np.ndarray:
    right = np.random.default_rng(seed).random(80) < share_right
    return np.eye(2)[np.where(right, LABELS, 1 - LABELS)] * 0.8 + 0.1


def test_each_part_has_its_own_score_and_the_claim_is_between() -> None:
    both = {"teacher": answers(np.where(TWINS, 0.95, 0.6), 0), "student": answers(np.full(80, 0.7), 1)}
    found = twin_scores(both, LABELS, np.arange(80), TWINS, 0.9)
    assert (found.n, found.of, found.share_at_random) == (30, 80, 0.9)
    for role, p in both.items():
        expected = [balanced_accuracy_score(LABELS[rows], p[rows].argmax(1)) for rows in (TWINS, ~TWINS)]
        score = found.models[role]
        assert score.with_twin is not None
        assert score.without_twin is not None
        assert [score.with_twin.value, score.without_twin.value] == pytest.approx(expected)
        assert score.at_random == pytest.approx(0.9 * expected[0] + 0.1 * expected[1])


@pytest.mark.parametrize("all_of_them", [True, False])
def test_a_part_without_images_has_no_score(all_of_them: bool) -> None:
    found = twin_scores({"student": answers(np.full(80, 0.7), 1)}, LABELS, np.arange(80), np.full(80, all_of_them), 0.5)
    score = found.models["student"]
    assert (score.with_twin is None) != (score.without_twin is None)
    assert score.at_random is None
