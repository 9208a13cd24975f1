"""Triage: counted by hand, and over many calibrations, that the risk is kept as often as it is promised."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from kdlight import metrics
from kdlight.metrics import MetricError
from kdlight.metrics.triage import GRID, Tallies, Tally, least_answered, sorted_out, tallies, triage


def sure(*pairs: tuple[int, float]) -> np.ndarray:
    """Of each image its class and the probability of it, over three classes."""
    rows = np.array([[(1 - p) / 2] * 3 for _, p in pairs])
    rows[np.arange(len(pairs)), [c for c, _ in pairs]] = [p for _, p in pairs]
    return rows


def test_the_student_answers_first_the_teacher_on_call_and_a_person_the_rest() -> None:
    student = sure((0, 0.95), (1, 0.6), (1, 0.6), (2, 0.5))
    teacher = sure((1, 0.99), (1, 0.9), (0, 0.99), (2, 0.7))
    alone, both = sorted_out(student, teacher, 0.8)
    assert alone.tolist() == [True, False, False, False]
    assert both.tolist() == [False, True, False, False]
    counted = tallies(student, teacher, np.array([0, 2, 1, 2]), [False, False, True])
    (at,) = (tally for tally in counted.tallies if tally.threshold == min(t for t in GRID if t > 0.8))
    assert (at.student, at.teacher, at.wrong, at.missed) == (1, 1, 1, 1)


def test_the_lowest_threshold_that_the_binomial_bound_allows_is_chosen() -> None:
    """Clopper and Pearson's one-sided upper bound, by the beta distribution, is at most the risk."""
    counted = Tallies(
        n=400,
        tallies=tuple(
            Tally(threshold=t, student=n, teacher=0, wrong=w, missed=0)
            for t, n, w in ((0.99, 40, 0), (0.9, 100, 0), (0.8, 200, 4), (0.7, 300, 13), (0.6, 400, 8))
        ),
    )
    assert least_answered(0.05) == 59
    bounds = [float(beta.ppf(0.95, t.wrong + 1, t.student - t.wrong)) for t in counted.tallies]
    assert [bound <= 0.05 for bound in bounds] == [False, True, True, False, True]
    assert counted.threshold(0.05) == 0.8  # 0.99 has too few to pass and is stepped over; 0.7 fails and ends it
    assert counted.threshold(0.01) is None
    with pytest.raises(MetricError, match="risk"):
        counted.threshold(1.5)


def drawn(n: int, seed: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Student's and teacher's probabilities (n, 3) and the truth: calibrated, too sure, or with a student whose surest
    answers are its worst."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=n)
    hard = rng.normal(size=(n, 3))
    logits = {name: 2.5 * np.eye(3)[truth] + hard + s * rng.normal(size=(n, 3)) for name, s in (("s", 0.8), ("t", 0.4))}
    scale = 4.0 if kind == "too sure" else 1.5
    student, teacher = (metrics.softmax(scale * z) for z in logits.values())
    if kind == "surest are worst":
        fooled = rng.random(n) < 0.03
        student[fooled] = 0.9998 * np.eye(3)[(truth[fooled] + 1) % 3] + 0.0002 / 3
    return student, teacher, truth


@pytest.mark.parametrize("kind", ["calibrated", "too sure", "surest are worst"])
@pytest.mark.parametrize("risk", [0.03, 0.1])
def test_the_risk_is_kept_in_19_of_20_calibrations(kind: str, risk: float) -> None:
    """500 calibrations of 250 images, each threshold held against one set of 100,000: violations 5 % at most."""
    student, teacher, truth = drawn(100_000, 10**6, kind)
    wrong, broken, answered = student.argmax(axis=1) != truth, [], []
    true_risk = {}
    for threshold in GRID:
        alone, both = sorted_out(student, teacher, threshold)
        true_risk[threshold] = wrong[alone | both].mean() if (alone | both).any() else 0.0
    for seed in range(500):
        small, big, labels = drawn(250, seed, kind)
        chosen = tallies(small, big, labels, [False] * 3).threshold(risk)
        broken.append(chosen is not None and true_risk[chosen] > risk)
        answered.append(chosen is not None)
    assert np.mean(broken) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 500)
    if kind == "calibrated":
        assert np.mean(answered) > 0.3  # it is not kept by never answering


def test_alike_images_of_a_group_count_once() -> None:
    """Twenty copies of ten answers prove nothing; as images of their own they would seem to."""
    student = np.tile(sure(*[(0, 0.99)] * 10), (20, 1))
    labels, groups = np.zeros(200, dtype=int), np.tile(np.arange(10), 20)
    assert tallies(student, student, labels, [False] * 3).threshold(0.05) is not None
    counted = tallies(student, student, labels, [False] * 3, groups)
    assert (counted.n, counted.threshold(0.05)) == (10, None)


def test_it_reports_who_answered_how_often_wrongly_and_what_it_saved() -> None:
    fitted = Tallies(n=100, tallies=(Tally(threshold=0.8, student=90, teacher=10, wrong=0, missed=0),))
    student = sure((0, 0.95), (1, 0.85), (1, 0.6), (2, 0.5))
    teacher = sure((1, 0.99), (1, 0.9), (1, 0.9), (2, 0.7))
    found = triage(fitted, 0.05, "wrong", (student, teacher), np.array([0, 2, 1, 2]), [0, 0, 1], ms=(2.0, 30.0))
    figures = {name: getattr(found, name).value for name in ("student", "called", "person", "wrong", "missed")}
    assert figures == {"student": 0.5, "called": 0.5, "person": 0.25, "wrong": 1 / 3, "missed": 1 / 3}
    assert found.wrong_alone is not None
    assert found.wrong_alone.value == 0.5
    assert (found.ms, found.ms_both) == (17.0, 32.0)


def test_without_a_proven_threshold_every_image_is_a_persons() -> None:
    fitted = tallies(sure((0, 0.9)), sure((0, 0.9)), np.array([0]), [False] * 3)
    found = triage(fitted, 0.05, "wrong", (sure((0, 0.99)), sure((0, 0.99))), np.array([0]), [False] * 3, ms=(2, 30))
    assert (found.threshold, found.wrong, found.ms, found.least, found.calibrated) == (None, None, None, 59, 1)
    assert found.person is not None
    assert found.person.value == 1
    assert found.called is not None
    assert found.called.value == 0
