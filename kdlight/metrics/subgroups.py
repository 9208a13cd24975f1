"""Both models on parts of a set, such as women and men: who is served worse, and whether distillation made it so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdlight.metrics.intervals import Interval, interval
from kdlight.metrics.paired import difference
from kdlight.metrics.report import Measured, report
from kdlight.metrics.scores import balanced_accuracy


class Subgroup(Measured):
    """The images with one value of a column."""

    n: int
    teacher: Interval | None
    """Balanced accuracy over the classes that it has images of, 0 to 1, as of `student`."""
    student: Interval | None
    change: Interval | None
    """The student's less the teacher's, on the same draws."""
    teacher_found: dict[str, Interval | None]
    """Sensitivity for each class that must not be missed."""
    student_found: dict[str, Interval | None]


Subgroups = dict[str, dict[str, Subgroup]]
"""By column and value."""


def subgroups(
    probabilities: Mapping[Any, np.ndarray],
    labels: np.ndarray,
    classes: Sequence[str],
    must_not_miss: Sequence[str],
    groups: Any,
    columns: Mapping[str, np.ndarray],
) -> Subgroups:
    """probabilities: (N, K) of "teacher" and "student"; labels (N,), groups (N,); columns: a value (N,), "" unknown."""

    def part(rows: np.ndarray) -> Subgroup:
        y, unit = labels[rows], np.asarray(groups)[rows]
        teacher, student = (probabilities[role][rows] for role in ("teacher", "student"))
        found = [report(p, y, classes, unit).recall if must_not_miss else {} for p in (teacher, student)]
        return Subgroup(
            n=int(rows.sum()),
            teacher=interval(balanced_accuracy, teacher, y, unit),
            student=interval(balanced_accuracy, student, y, unit),
            change=difference(balanced_accuracy, student, teacher, y, unit),
            teacher_found={name: found[0][name] for name in must_not_miss},
            student_found={name: found[1][name] for name in must_not_miss},
        )

    return {
        name: {value: part(values == value) for value in sorted(set(values.tolist()) - {""})}
        for name, values in columns.items()
    }
