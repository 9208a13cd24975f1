"""Everything `kdlight evaluate` says about one model on one labeled set, and about two models on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from kdlight.metrics.curves import confusion_matrix
from kdlight.metrics.intervals import DRAWS, Interval, distinct, intervals, or_wilson
from kdlight.metrics.paired import FlipCounts
from kdlight.metrics.scores import SCORES, Floats, Ints, MetricError, checked, recalls, specificities

FEW = 10
"""Below so many images the numbers of a class are called uncertain."""
IF_KNOWN: Any = Field(exclude_if=lambda value: value is None)
"""A field that JSON leaves out where it is None."""


class Measured(BaseModel):
    """What cards and `--json` hold; reading one skips what a newer version added."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class Report(Measured):
    """One model on one set. What is undefined is None, and `notes` says why."""

    n: int = 0
    accuracy: Interval | None = None
    balanced_accuracy: Interval | None = None
    auc: Interval | None = None
    macro_f1: Interval | None = None
    ece: Interval | None = None
    brier: Interval | None = None
    log_loss: Interval | None = None
    recall: dict[str, Interval | None] = {}
    specificity: dict[str, Interval | None] = {}
    counts: dict[str, int] = {}
    """Images per class."""
    confusion: list[list[int]] = []
    """Truth in rows, top class in columns."""
    notes: list[str] = []
    seconds: Annotated[float | None, IF_KNOWN] = None
    """For all images, where it was timed."""

    @property
    def chance_level(self) -> float | None:
        """Balanced accuracy of a model that gives every image the same answer: 1 / classes that the test has images of.

        None where the report does not tell the recalls.
        """
        present = sum(recall is not None for recall in self.recall.values())
        return 1 / present if present else None

    @property
    def beats_chance(self) -> bool | None:
        """Whether the interval of the balanced accuracy lies above `chance_level`; without an interval, the value.

        An interval that reaches down to chance counts as chance: such a model was not shown to have learned anything,
        be it for a bad training or for too small a test. None where the report does not say.
        """
        level, score = self.chance_level, self.balanced_accuracy
        if level is None or score is None:
            return None
        return (score.value if score.low is None else score.low) > level


class Flip(Measured):
    """One image on which teacher and student differ."""

    path: str
    truth: str
    teacher: str
    """The class that it answers."""
    teacher_probability: float
    student: str
    student_probability: float


class Measurement(Measured):
    """Models on the same images: a report for each that was there, and where teacher and student part."""

    teacher: Annotated[Report | None, IF_KNOWN] = None
    student: Annotated[Report | None, IF_KNOWN] = None
    alone: Annotated[Report | None, IF_KNOWN] = None
    """The student without its teacher."""
    scratch: Annotated[Report | None, IF_KNOWN] = None
    """The same from random weights."""
    same_start: Annotated[Report | None, IF_KNOWN] = None
    """The same from the starting weights of the taught one."""
    partner: Annotated[Report | None, IF_KNOWN] = None
    """The second model of a pair that learned together."""
    agreement: Annotated[Interval | None, IF_KNOWN] = None
    flip_counts: Annotated[FlipCounts | None, IF_KNOWN] = None
    flips: Annotated[tuple[Flip, ...] | None, IF_KNOWN] = None
    """Every image on which they differ; None where images are not to be named, as in a card."""

    @property
    def reports(self) -> dict[str, Report]:
        """By model, those that were measured."""
        return {name: value for name in type(self).model_fields if isinstance(value := getattr(self, name), Report)}


def report(
    probabilities: Any, labels: Any, classes: Sequence[str], groups: Any = None, draws: int = DRAWS, seed: int = 0
) -> Report:
    """Each of SCORES with its interval, recall and specificity per class, the confusion.

    probabilities (N, K) in the order of `classes`, labels (N,), groups (N,) where images belong together.
    Raises MetricError on input that does not belong together.
    """
    p, y = checked(probabilities, labels)
    if len(classes) != p.shape[1]:
        raise MetricError(f"{len(classes)} class names were given for {p.shape[1]} columns; one each was expected.")
    values = intervals(lambda w: _values(p, y, w), y, groups, draws, seed)
    k, matrix = len(classes), confusion_matrix(p, y)
    recall = [or_wilson(value, distinct(groups, y == c)) for c, value in enumerate(values[-2 * k : -k])]
    specificity = [or_wilson(value, distinct(groups, y != c)) for c, value in enumerate(values[-k:])]
    scores: dict[str, Any] = dict(zip(SCORES, values[: -2 * k], strict=True))
    fallback = {
        "accuracy": or_wilson(scores["accuracy"], distinct(groups, y >= 0)),
        "balanced_accuracy": _mean(recall),
    }
    for name, value in scores.items():
        if value and value.constant:
            scores[name] = fallback.get(name) or Interval(value.value)
    return Report(
        n=len(y),
        **scores,
        recall=dict(zip(classes, recall, strict=True)),
        specificity=dict(zip(classes, specificity, strict=True)),
        counts={name: int(matrix[c].sum()) for c, name in enumerate(classes)},
        confusion=matrix.tolist(),
        notes=_notes(matrix, classes, groups) + _unknown(scores),
    )


def _values(p: Floats, y: Ints, weights: Floats) -> Floats:
    """(D, scores + 2 K)."""
    scores = np.stack([score.weighted(p, y, weights) for score in SCORES.values()], axis=1)
    return np.concatenate([scores, recalls(p, y, weights), specificities(p, y, weights)], axis=1)


def _mean(shares: Sequence[Interval | None]) -> Interval | None:
    """The mean of the shares that are there, between the means of their bounds: wider than an interval of the mean."""
    bounds = [(s.value, s.low, s.high) for s in shares if s and s.low is not None and s.high is not None]
    return Interval(*np.mean(bounds, axis=0).tolist()) if bounds else None


def _unknown(scores: Mapping[str, Interval | None]) -> list[str]:
    """Which scores have no interval, since every draw gives the same."""
    names = [name for name, value in scores.items() if value and value.low is None]
    return [f"No interval of {', '.join(names)}: too few images differ, or are of one class."] if names else []


def _notes(matrix: Ints, classes: Sequence[str], groups: Any) -> list[str]:
    n = matrix.sum(axis=1)
    empty = [name for name, count in zip(classes, n, strict=True) if not count]
    few = [f"{name} ({count})" for name, count in zip(classes, n, strict=True) if 0 < count < FEW]
    notes = []
    if empty:
        notes.append(f"No image of {', '.join(empty)}: no recall of it, and means are over the other classes.")
    if len(classes) - len(empty) < 2:
        notes.append("Images of one class only: AUC is undefined.")
    if few:
        notes.append(f"Fewer than {FEW} images of {', '.join(few)}: their numbers are uncertain.")
    if groups is not None and len(np.unique(groups)) < n.sum():
        notes.append(f"Intervals are drawn over {len(np.unique(groups))} groups of images that belong together.")
    return notes
