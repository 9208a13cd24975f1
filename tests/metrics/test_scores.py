"""Every score against scikit-learn or torchmetrics."""

from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
import torchmetrics.functional.classification as tm

from kdlight import metrics
from kdlight.metrics import SCORES, MetricError

Make = Callable[..., tuple[np.ndarray, np.ndarray]]


CASES = (
    {"seed": 0},
    {"seed": 1, "k": 2},
    {"seed": 2, "k": 7, "n": 500},
    {"seed": 3, "coarse": True},
    {"seed": 4, "n": 9},
)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, random_case: Make) -> tuple[np.ndarray, np.ndarray]:
    return random_case(**request.param)


def test_scores_equal_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    p, y = case
    top, k = p.argmax(axis=1), p.shape[1]
    assert metrics.accuracy(p, y) == pytest.approx(sk.accuracy_score(y, top))
    assert metrics.macro_f1(p, y) == pytest.approx(sk.f1_score(y, top, average="macro"))
    assert metrics.log_loss(p, y) == pytest.approx(sk.log_loss(y, p, labels=range(k)))
    brier = sk.brier_score_loss(y, p, labels=range(k), scale_by_half=False)
    assert metrics.brier(p, y) == pytest.approx(brier)
    np.testing.assert_array_equal(metrics.confusion_matrix(p, y), sk.confusion_matrix(y, top, labels=range(k)))
    assert metrics.balanced_accuracy(p, y) == pytest.approx(
        sk.recall_score(y, top, average="macro", labels=np.unique(y))
    )


def test_auc_equals_scikit_learn_with_ties(case: tuple[np.ndarray, np.ndarray]) -> None:
    p, y = case
    expected = [sk.roc_auc_score(y == c, p[:, c]) for c in np.unique(y)]
    assert metrics.auc(p, y) == pytest.approx(np.mean(expected))


def test_ece_equals_torchmetrics(case: tuple[np.ndarray, np.ndarray]) -> None:
    p, y = case
    expected = tm.multiclass_calibration_error(torch.tensor(p), torch.tensor(y), p.shape[1], n_bins=15, norm="l1")
    assert metrics.ece(p, y) == pytest.approx(float(expected), abs=1e-6)


def test_per_class_sensitivity_and_specificity_equal_torchmetrics(random_case: Make) -> None:
    p, y = random_case(5, k=3)
    given = torch.tensor(p), torch.tensor(y), 3
    recall, specificity = tm.multiclass_recall(*given, average=None), tm.multiclass_specificity(*given, average=None)
    found = metrics.report(p, y, ["0", "1", "2"], draws=5)
    for c in range(3):
        assert found.recall[str(c)].value == pytest.approx(float(recall[c]))
        assert found.specificity[str(c)].value == pytest.approx(float(specificity[c]))


def test_ties_in_all_scores_are_chance() -> None:
    p, y = np.full((10, 2), 0.5), np.arange(10) % 2
    assert metrics.auc(p, y) == 0.5


def test_weights_count_an_image_as_often_as_they_say(random_case: Make) -> None:
    p, y = random_case(6, n=60, k=3, coarse=True)
    times = np.random.default_rng(0).integers(0, 4, size=60)
    for score in SCORES.values():
        weighted = score.weighted(p, y, times[None].astype(float))[0]
        assert weighted == pytest.approx(score(np.repeat(p, times, axis=0), np.repeat(y, times)))


def test_one_class_has_no_auc_and_absent_classes_leave_the_means(random_case: Make) -> None:
    p, y = random_case(7, n=30, k=3)
    assert metrics.auc(p, np.zeros(30, dtype=int)) is None
    y = np.minimum(y, 1)
    assert metrics.balanced_accuracy(p, y) == pytest.approx(
        np.mean([(p.argmax(axis=1)[y == c] == c).mean() for c in (0, 1)])
    )
    assert metrics.report(p, y, ["0", "1", "2"], draws=5).recall["2"] is None


@pytest.mark.parametrize(
    ("p", "y", "words"),
    [
        ([[0.5, 0.5]], [0, 1], "(1, 2)"),
        (np.empty((0, 2)), np.empty(0, dtype=int), "N > 0"),
        ([[2.0, -1.0]], [0], "softmax"),
        ([[np.nan, 1.0]], [0], "softmax"),
        ([[0.3, 0.3]], [0], "softmax"),
        ([[0.5, 0.5]], [2], "0 to 1"),
        ([[0.5, 0.5]], [-1], "0 to 1"),
        ([[0.5, 0.5]], [0.0], "whole numbers"),
    ],
)
def test_input_that_does_not_belong_together_is_refused(p: object, y: object, words: str) -> None:
    with pytest.raises(MetricError, match=words.replace("(", r"\(").replace(")", r"\)")):
        metrics.accuracy(p, y)
