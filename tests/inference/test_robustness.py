"""The cost of corruptions to a model that breaks under noise alone, and to one that sees nothing but brightness."""

from __future__ import annotations

import numpy as np
import pytest

from kdlight.inference.robustness import corruption_costs, spread

SIDE, COUNT = 32, 40
LABELS = np.arange(COUNT) % 2
PIXELS = np.where(LABELS == 1, 170, 80).astype(np.uint8)[:, None, None, None] * np.ones((1, SIDE, SIDE, 3), np.uint8)


def by_brightness(pixels: np.ndarray) -> np.ndarray:
    """Right as long as the mean brightness stays: noise takes nothing from it."""
    bright = pixels.reshape(len(pixels), -1).mean(axis=1) > 125
    return np.stack([~bright, bright], axis=1) * 0.8 + 0.1


def by_brightness_of_smooth_images(pixels: np.ndarray) -> np.ndarray:
    """The same, but class 0 for whatever is grainy: it loses all of class 1 by noise, half the balanced accuracy."""
    grainy = np.abs(np.diff(pixels.astype(np.int64), axis=2)).reshape(len(pixels), -1).mean(axis=1) > 3
    answers = by_brightness(pixels)
    answers[grainy] = (0.9, 0.1)
    return answers


def test_a_student_that_breaks_under_noise_alone_is_told_by_noise_alone() -> None:
    models = {"teacher": by_brightness, "student": by_brightness_of_smooth_images}
    clean = {role: model(PIXELS) for role, model in models.items()}
    costs = {(one.kind, one.severity): one for one in corruption_costs(models, clean, PIXELS, LABELS)}
    for severity in (1.0, 2.0, 3.0):
        noise = costs["noise", severity]
        assert (noise.n, noise.teacher.value, noise.student.value) == (COUNT, 0, -0.5)
        assert noise.gap.below_zero
    for (kind, _), cost in costs.items():
        if kind in ("blur", "jpeg", "resample"):  # flat pictures stay flat
            assert cost.student.value == cost.teacher.value == cost.gap.value == 0, kind


def test_rare_classes_are_whole_among_the_few_that_are_asked_again() -> None:
    labels = np.repeat([0, 1, 2], [400, 90, 5])
    rows = spread(labels, 300)
    assert len(set(rows.tolist())) == len(rows) <= 300
    assert rows.tolist() == sorted(rows.tolist())
    assert np.bincount(labels[rows]).tolist() == [100, 90, 5]
    assert np.diff(rows[:100]).max() == 4  # all over the class, not its first hundred


@pytest.mark.parametrize("most", [1, 2, 1000])
def test_every_class_stays_and_no_image_comes_twice(most: int) -> None:
    labels = np.array([0, 2, 2, 0, 2])
    rows = spread(labels, most).tolist()
    assert rows == ([0, 1] if most < 1000 else [0, 1, 2, 3, 4])
