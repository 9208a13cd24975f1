"""What corrupted images cost two models, each against its own answers to the clean ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kdlight.metrics.intervals import Interval, intervals
from kdlight.metrics.report import Measured
from kdlight.metrics.scores import SCORES, Floats, checked

HEADLINES = {("noise", 2.0): "Noise of 8 of 255 gray levels", ("blur", 2.0): "A blur of 1 pixel in 128"}
"""The two corruptions that a pair is known by, in words: what another scanner and a resampling do."""


class CorruptionCost(Measured):
    """Of one kind of corruption at one severity: changes of the balanced accuracy, -1 to 1, below 0 where it falls."""

    kind: str
    severity: float
    n: int
    """Images."""
    teacher: Interval | None
    student: Interval | None
    gap: Interval | None
    """The student's change less the teacher's: below 0 where the student loses more."""


def corruption_cost(
    kind: str,
    severity: float,
    clean: Mapping[Any, np.ndarray],
    corrupted: Mapping[Any, np.ndarray],
    labels: Any,
    groups: Any = None,
) -> CorruptionCost:
    """clean, corrupted: probabilities (N, K) by "teacher" and "student", for the same images before and after.

    All three changes on the same draws. Raises MetricError where the arrays do not belong together.
    """
    score = SCORES["balanced_accuracy"]
    pairs = [(*checked(corrupted[role], labels), checked(clean[role], labels)[0]) for role in ("teacher", "student")]

    def changes(weights: Floats) -> Floats:
        teacher, student = (score.weighted(new, y, weights) - score.weighted(old, y, weights) for new, y, old in pairs)
        return np.stack([teacher, student, student - teacher], axis=1)

    teacher, student, gap = intervals(changes, pairs[0][1], groups)
    return CorruptionCost(kind=kind, severity=severity, n=len(labels), teacher=teacher, student=student, gap=gap)
