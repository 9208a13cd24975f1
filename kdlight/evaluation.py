"""Predict once, measure many: both models on one labelled split."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdlight.data import Dataset
from kdlight.metrics import Flip, Measurement, agreement, flips, report, softmax

Predict = Callable[[np.ndarray], np.ndarray]
"""Rendered pixels uint8 (B, S, S, 3) to logits (B, K)."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """One model on one split: calibrated probabilities (N, K), and seconds for the whole split where it was timed."""

    probabilities: np.ndarray
    seconds: float | None = None


def predict(
    model: Predict,
    pixels: np.ndarray,
    temperature: float,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Run a model over rendered pixels uint8 (N, S, S, 3). Raises ValueError if a logit is not finite."""
    logits, seconds = [], 0.0
    for start in range(0, len(pixels), batch_size):
        part = pixels[start : start + batch_size]
        began = time.perf_counter()
        logits.append(model(part))
        seconds += time.perf_counter() - began
        if progress:
            progress(min(start + batch_size, len(pixels)), len(pixels))
    return Predictions(softmax(np.concatenate(logits), temperature), seconds)


def measure(predictions: Mapping[Any, Predictions], dataset: Dataset, classes: Sequence[str]) -> Measurement:
    """The report of each model, and where teacher and student part: agreement and every flip.

    predictions: by role, rows in the order of `dataset.items`; labels must be numbered as `classes`.
    """
    groups = dataset.groups
    found: dict[str, Any] = {
        role: report(p.probabilities, dataset.labels, classes, groups).model_copy(
            update={"seconds": None if p.seconds is None else round(p.seconds, 4)}
        )
        for role, p in predictions.items()
    }
    if {"teacher", "student"} <= set(predictions):
        teacher, student = (predictions[r].probabilities for r in ("teacher", "student"))
        parting = flips(teacher, student, dataset.labels)
        found["agreement"] = agreement(teacher, student, groups=groups)
        found["flips"] = tuple(_flip(dataset, classes, teacher, student, int(i)) for i in parting.differing)
        found["flip_counts"] = parting.counts
    return Measurement(**found)


def _flip(dataset: Dataset, classes: Sequence[str], teacher: np.ndarray, student: np.ndarray, i: int) -> Flip:
    item = dataset.items[i]
    return Flip(
        path=item.ref,
        truth=classes[item.label],
        teacher=classes[int(teacher[i].argmax())],
        teacher_probability=float(teacher[i].max()),
        student=classes[int(student[i].argmax())],
        student_probability=float(student[i].max()),
    )
