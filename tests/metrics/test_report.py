import json
from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics as sk

from kdlight import metrics

Make = Callable[..., tuple[np.ndarray, np.ndarray]]


def test_report_is_json_with_values_of_scikit_learn_inside_their_intervals(random_case: Make) -> None:
    p, y = random_case(0, n=300, k=3)
    found = json.loads(json.dumps(metrics.report(p, y, ["a", "b", "c"]).to_json()))
    top = p.argmax(axis=1)
    assert found["n"] == 300
    assert found["accuracy"]["value"] == pytest.approx(sk.accuracy_score(y, top))
    assert found["auc"]["value"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"))
    assert found["recall"]["b"]["value"] == pytest.approx(sk.recall_score(y, top, average=None)[1])
    assert found["specificity"]["b"]["value"] == pytest.approx(sk.recall_score(y != 1, top != 1))
    assert found["confusion"] == sk.confusion_matrix(y, top).tolist()
    for name in metrics.SCORES:
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    assert found["notes"] == []


def test_a_class_without_images_is_none_and_said(random_case: Make) -> None:
    p, y = random_case(1, n=80, k=3)
    found = metrics.report(p, np.minimum(y, 1), ["a", "b", "c"])
    assert found.recall["c"] is None
    assert found.counts["c"] == 0
    assert "No image of c" in found.notes[0]
    assert found.auc.value is not None


def test_images_of_one_class_have_no_auc_and_it_is_said(random_case: Make) -> None:
    p, _ = random_case(2, n=40, k=2)
    found = metrics.report(p, np.zeros(40, dtype=int), ["a", "b"])
    assert found.auc is None
    assert found.specificity["a"] is None
    assert any("AUC is undefined" in note for note in found.notes)


def test_five_of_five_is_not_certain() -> None:
    p = np.eye(2)[[0] * 5 + [1] * 30] * 0.98 + 0.01
    found = metrics.report(p, np.repeat([0, 1], [5, 30]), ["a", "b"])
    assert found.recall["a"].value == 1
    assert found.recall["a"].low == pytest.approx(0.566, abs=0.001)
    assert found.accuracy.low == pytest.approx(35 / (35 + 1.96**2), abs=0.001)
    assert "Fewer than 10 images of a (5)" in found.notes[0]


def test_a_perfect_answer_is_not_certain() -> None:
    p = np.eye(2)[[0] * 5 + [1] * 30] * 0.98 + 0.01
    found = metrics.report(p, np.repeat([0, 1], [5, 30]), ["a", "b"])
    lows = [found.recall[name].low for name in "ab"]
    assert found.balanced_accuracy.to_json() == pytest.approx({"value": 1, "low": np.mean(lows), "high": 1})
    for unknown in (found.auc, found.macro_f1):  # no draw says anything of these, and no formula does
        assert unknown == metrics.Interval(1, None, None)
    assert any("No interval of auc, macro_f1" in note for note in found.notes)


def test_one_image_is_reported_without_a_crash() -> None:
    found = metrics.report([[0.7, 0.3]], [0], ["a", "b"])
    assert found.accuracy.value == 1
    assert found.accuracy.low < 0.25
    assert found.auc is None


def test_groups_widen_the_interval_and_are_said(random_case: Make) -> None:
    p, y = random_case(3, n=60, k=2)
    p, y, groups = np.repeat(p, 8, axis=0), np.repeat(y, 8), np.repeat(np.arange(60), 8)
    alone, grouped = metrics.report(p, y, ["a", "b"]), metrics.report(p, y, ["a", "b"], groups)
    assert alone.accuracy.value == pytest.approx(grouped.accuracy.value)
    spread = [r.accuracy.high - r.accuracy.low for r in (alone, grouped)]
    assert spread[1] > 2 * spread[0]
    assert "60 groups" in grouped.notes[0]


def test_names_that_do_not_fit_the_columns_are_refused() -> None:
    with pytest.raises(metrics.MetricError, match="1 class names"):
        metrics.report([[0.7, 0.3]], [0], ["a"])


CLASSES = ("a", "b", "c")


def answers(right: float, n: int = 90, k: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, K) that are right for a share of the images and point at a neighbor class for the others."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    top = np.where(rng.random(n) < right, labels, (labels + 1 + rng.integers(0, k - 1, n)) % k)
    return np.eye(k)[top] * 0.7 + 0.1 * np.ones(k), labels


@pytest.mark.parametrize(("right", "expected"), [(1 / 3, False), (0.8, True), (1.0, True), (0.0, False)])
def test_the_lower_bound_decides(right: float, expected: bool) -> None:
    found = metrics.report(*answers(right), CLASSES)
    assert found.chance_level == pytest.approx(1 / 3)
    assert found.beats_chance is expected


def test_one_answer_to_every_image_is_chance() -> None:
    labels = np.arange(60) % 3
    found = metrics.report(np.tile([0.8, 0.1, 0.1], (60, 1)), labels, CLASSES)
    assert found.balanced_accuracy.value == pytest.approx(1 / 3)
    assert found.beats_chance is False


def test_a_class_without_test_images_does_not_lower_the_bar() -> None:
    labels = np.arange(60) % 2
    found = metrics.report(np.tile([0.8, 0.1, 0.1], (60, 1)), labels, CLASSES)
    assert found.chance_level == pytest.approx(1 / 2)
    assert found.beats_chance is False


def test_too_few_images_show_nothing() -> None:
    assert metrics.report(*answers(2 / 3, n=6), CLASSES).beats_chance is False


def test_a_report_that_says_nothing_is_not_judged() -> None:
    assert metrics.Report().beats_chance is None
    assert metrics.Report(balanced_accuracy=metrics.Interval(0.9, 0.8, 1.0)).beats_chance is None


def test_a_report_and_a_measurement_come_back_from_their_json(random_case: Make) -> None:
    p, y = random_case(4, n=60, k=3)
    one = metrics.report(p, y, CLASSES, draws=20)
    assert "seconds" not in one.to_json()
    assert metrics.Report.model_validate({**one.to_json(), "of a later version": 1}) == one
    both = metrics.Measurement(teacher=one, student=one, agreement=metrics.agreement(p, p, draws=20))
    assert set(both.to_json()) == {"teacher", "student", "agreement"}
    assert metrics.Measurement.model_validate(both.to_json()) == both
    assert list(both.reports) == ["teacher", "student"]
