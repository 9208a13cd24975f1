"""Everything `kdlight evaluate` says about one model on one labelled set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdlight.metrics.curves import confusion_matrix
from kdlight.metrics.intervals import DRAWS, Interval, distinct, intervals, wilson
from kdlight.metrics.scores import SCORES, Floats, Ints, MetricError, checked, recalls, specificities

FEW = 10
"""Below so many images a class's own numbers are called uncertain."""


def report(
    probabilities: Any, labels: Any, classes: Sequence[str], groups: Any = None, draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """JSON-ready: n, each of SCORES as {"value", "low", "high"}, recall and specificity per class, the confusion.

    probabilities (N, K) in the order of `classes`, labels (N,), groups (N,) where images belong together.
    What is undefined is None, and `notes` says why. Raises MetricError on input that does not belong together.
    """
    p, y = checked(probabilities, labels)
    if len(classes) != p.shape[1]:
        raise MetricError(f"{len(classes)} class names were given for {p.shape[1]} columns; one each was expected.")
    found = intervals(lambda w: _values(p, y, w), y, groups, draws, seed)
    k, head = len(classes), len(SCORES)
    matrix = confusion_matrix(p, y)
    scores = dict(zip(SCORES, found, strict=False))
    recall = [_sure(found[head + c], distinct(groups, y == c)) for c in range(k)]
    specificity = [_sure(found[head + k + c], distinct(groups, y != c)) for c in range(k)]
    sure = {"accuracy": _sure(scores["accuracy"], distinct(groups, y >= 0)), "balanced_accuracy": _mean(recall)}
    for name, value in scores.items():
        if value and _agreed(value):
            scores[name] = sure.get(name) or Interval(value.value, None, None)
    return {
        "n": len(y),
        **{name: _json(value) for name, value in scores.items()},
        "recall": {name: _json(value) for name, value in zip(classes, recall, strict=True)},
        "specificity": {name: _json(value) for name, value in zip(classes, specificity, strict=True)},
        "counts": {name: int(matrix[c].sum()) for c, name in enumerate(classes)},
        "confusion": matrix.tolist(),
        "notes": _notes(matrix, classes, groups) + _unknown(scores),
    }


def _values(p: Floats, y: Ints, weights: Floats) -> Floats:
    """(D, scores + 2 K)."""
    scores = np.stack([score.weighted(p, y, weights) for score in SCORES.values()], axis=1)
    return np.concatenate([scores, recalls(p, y, weights), specificities(p, y, weights)], axis=1)


def _sure(found: Interval | None, n: int) -> Interval | None:
    """A share whose draws all agree (5 of 5) says nothing by bootstrap; its Wilson interval does."""
    return wilson(found.value, n) if found and _agreed(found) else found


def _agreed(found: Interval) -> bool:
    return found.low is not None and found.low == found.high


def _mean(shares: Sequence[Interval | None]) -> Interval | None:
    """The mean of the shares that are there, between the means of their bounds: wider than the mean's own interval."""
    bounds = [(s.value, s.low, s.high) for s in shares if s and s.low is not None and s.high is not None]
    return Interval(*np.mean(bounds, axis=0).tolist()) if bounds else None


def _json(found: Interval | None) -> dict[str, float | None] | None:
    return found.to_json() if found else None


def _unknown(scores: Mapping[str, Interval | None]) -> list[str]:
    """Which scores have no interval, since every draw gives the same."""
    names = [name for name, found in scores.items() if found and found.low is None]
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
