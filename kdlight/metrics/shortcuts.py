"""How far two models answer by what is no finding: by the rim, by corners, by a marker, by where an image is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from kdlight.metrics.intervals import Interval, distinct, intervals, or_wilson
from kdlight.metrics.paired import agreement, difference
from kdlight.metrics.report import Measured, report
from kdlight.metrics.scores import Floats, balanced_accuracy, checked, ratio

ProbeKind = Literal["rim", "center", "corners", "cropped", "marker"]
PROBES: Mapping[ProbeKind, str] = {
    "rim": "rim alone",
    "center": "center alone",
    "corners": "corners masked",
    "cropped": "borders cropped",
    "marker": "marker planted",
}
"""By the words that tables have for them."""
ALONE: tuple[ProbeKind, ...] = ("rim", "center")
"""Kinds that show a part of the image; the others change a part of it."""


class Probe(Measured):
    """Two models on the same images with a part of each replaced."""

    kind: ProbeKind
    n: int
    teacher: Interval | None
    """Balanced accuracy, 0 to 1, as of `student`."""
    student: Interval | None
    gap: Interval | None
    """The student's less the teacher's, on the same draws."""
    teacher_changed: Interval
    """Share of images whose answer is another than to the whole image, 0 to 1, as of `student_changed`."""
    student_changed: Interval


class SourceShift(Measured):
    """The images of one source."""

    source: str
    n: int
    toward: str
    """The class that the source goes with: of its images the largest share is of this source."""
    teacher: Interval | None
    """How much more probable it is to the model, -1 to 1, than for images of other sources: of images of other classes,
    each class compared with itself. None where no other class is of this source and of another one too."""
    student: Interval | None
    gap: Interval | None
    """The student's shift less the teacher's."""


class Sources(Measured):
    """A column of the manifest that says where images are from."""

    column: str
    told: float
    """Balanced accuracy of whoever guesses the class by the source alone, on these images."""
    values: tuple[SourceShift, ...]


class Shortcuts(Measured):
    """Every probe, beside what the same models answer to the same images as they are."""

    n: int
    chance: float
    """Balanced accuracy of one and the same answer to every image."""
    teacher: Interval | None
    student: Interval | None
    probes: tuple[Probe, ...]
    sources: tuple[Sources, ...] = ()

    def of(self, kind: ProbeKind) -> Probe | None:
        """None where it could not be made: see `kdlight.trust.shortcuts.donors`."""
        return next((probe for probe in self.probes if probe.kind == kind), None)


def above(score: Interval | None, chance: float) -> bool:
    """Whether a score is proven to be better than chance."""
    return score is not None and score.low is not None and score.low > chance


def probe(
    kind: ProbeKind,
    whole: Mapping[Any, np.ndarray],
    shown: Mapping[Any, np.ndarray],
    labels: np.ndarray,
    classes: Sequence[str],
    groups: Any = None,
) -> Probe:
    """whole, shown: probabilities (N, K) by "teacher" and "student" of the images as they are and as changed.

    Raises MetricError where the arrays do not belong together.
    """
    teacher, student = (report(shown[role], labels, classes, groups) for role in ("teacher", "student"))
    changed = [_changed(whole[role], shown[role], groups) for role in ("teacher", "student")]
    gap = difference(balanced_accuracy, shown["student"], shown["teacher"], labels, groups)
    return Probe(
        kind=kind,
        n=len(labels),
        teacher=teacher.balanced_accuracy,
        student=student.balanced_accuracy,
        gap=Interval(gap.value) if gap and gap.constant else gap,
        teacher_changed=changed[0],
        student_changed=changed[1],
    )


def _changed(whole: np.ndarray, shown: np.ndarray, groups: Any) -> Interval:
    every = np.ones(len(whole), dtype=np.bool_)
    same = or_wilson(agreement(whole, shown, groups), distinct(groups, every))
    assert same is not None
    low, high = (None if bound is None else 1 - bound for bound in (same.high, same.low))
    return Interval(1 - same.value, low, high)


def sources(
    column: str,
    values: np.ndarray,
    probabilities: Mapping[Any, np.ndarray],
    labels: np.ndarray,
    classes: Sequence[str],
    groups: Any = None,
) -> Sources | None:
    """How far the answer goes with the source `values` (N,) of each image, "" where it is not known; None without two.

    probabilities: (N, K) by "teacher" and "student" of the images as they are.
    """
    known = values != ""
    names = sorted(set(values[known].tolist()))
    if len(names) < 2:
        return None
    seen, y = values[known], labels[known]
    of_class = np.array([[np.mean(seen[y == k] == name) for name in names] for k in np.unique(y)])  # (K, sources)
    toward = np.unique(y)[of_class.argmax(axis=0)]
    told = float(np.mean([of_class[row, toward == k].sum() for row, k in enumerate(np.unique(y))]))
    of = {role: np.asarray(p)[known] for role, p in probabilities.items()}
    unit = None if groups is None else np.asarray(groups)[known]
    shifts = [_shift(name, seen == name, int(k), of, y, classes, unit) for name, k in zip(names, toward, strict=True)]
    return Sources(column=column, told=told, values=tuple(shifts))


def _shift(
    name: str,
    inside: np.ndarray,
    k: int,
    probabilities: Mapping[Any, np.ndarray],
    labels: np.ndarray,
    classes: Sequence[str],
    groups: Any,
) -> SourceShift:
    pair = [checked(probabilities[role], labels)[0][:, k] for role in ("teacher", "student")]
    both = [c for c in np.unique(labels) if c != k and np.any(inside[labels == c]) and not np.all(inside[labels == c])]

    def means(p: Floats, rows: np.ndarray, weights: Floats) -> Floats:
        return ratio(weights[:, rows] @ p[rows], weights[:, rows].sum(axis=1))

    def shifts(weights: Floats) -> Floats:
        teacher, student = (
            np.mean([means(p, at & inside, weights) - means(p, at & ~inside, weights) for at in of_class], axis=0)
            for p in pair
        )
        return np.stack([teacher, student, student - teacher], axis=1)

    of_class = [labels == c for c in both]
    teacher, student, gap = intervals(shifts, labels, groups) if both else (None, None, None)
    count = int(inside.sum())
    return SourceShift(source=name, n=count, toward=classes[k], teacher=teacher, student=student, gap=gap)
