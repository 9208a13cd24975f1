"""A model at chance is told from one that learned something."""

from __future__ import annotations

import numpy as np
import pytest

from kdlight.metrics import beats_chance, chance_level, report

CLASSES = ("a", "b", "c")


def answers(right: float, n: int = 90, k: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, K) that are right for a share of the images and point at a neighbor class for the others."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    top = np.where(rng.random(n) < right, labels, (labels + 1 + rng.integers(0, k - 1, n)) % k)
    return np.eye(k)[top] * 0.7 + 0.1 * np.ones(k), labels


@pytest.mark.parametrize(("right", "expected"), [(1 / 3, False), (0.8, True), (1.0, True), (0.0, False)])
def test_the_lower_bound_decides(right: float, expected: bool) -> None:
    found = report(*answers(right), CLASSES)
    assert chance_level(found) == pytest.approx(1 / 3)
    assert beats_chance(found) is expected


def test_one_answer_to_every_image_is_chance() -> None:
    labels = np.arange(60) % 3
    found = report(np.tile([0.8, 0.1, 0.1], (60, 1)), labels, CLASSES)
    assert found["balanced_accuracy"]["value"] == pytest.approx(1 / 3)
    assert beats_chance(found) is False


def test_a_class_without_test_images_does_not_lower_the_bar() -> None:
    labels = np.arange(60) % 2
    found = report(np.tile([0.8, 0.1, 0.1], (60, 1)), labels, CLASSES)
    assert chance_level(found) == pytest.approx(1 / 2)
    assert beats_chance(found) is False


def test_too_few_images_show_nothing() -> None:
    assert beats_chance(report(*answers(2 / 3, n=6), CLASSES)) is False


def test_a_report_that_says_nothing_is_not_judged() -> None:
    assert beats_chance({}) is None
    assert beats_chance({"balanced_accuracy": {"value": 0.9, "low": 0.8, "high": 1.0}}) is None
