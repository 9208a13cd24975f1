"""Two models on the same images: agreement, flips, and whether a difference is proven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kdlight.metrics.intervals import DRAWS, Interval, intervals
from kdlight.metrics.scores import Floats, MetricError, Score, checked


@dataclass(frozen=True, slots=True)
class FlipCounts:
    """Numbers of images by who is right: a flip is an image on which the top classes differ."""

    both_right: int
    first_only: int
    """The first model is right, the second is not."""
    second_only: int
    both_wrong_alike: int
    both_wrong_apart: int


def agreement(first: Any, second: Any, groups: Any = None, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Share of images with the same top class, 0 to 1. first, second: probabilities (N, K) on the same images."""
    a, b = _pair(first, second)
    same = (a.argmax(axis=1) == b.argmax(axis=1)).astype(np.float64)
    one_stratum = np.zeros(len(a), dtype=np.int64)
    share = intervals(lambda w: ((w @ same) / w.sum(axis=1))[:, None], one_stratum, groups, draws, seed)[0]
    return share or Interval(float(same.mean()))


def flips(first: Any, second: Any, labels: Any) -> FlipCounts:
    """Who is right how often. Raises MetricError where the two do not belong to the same images."""
    a, b = _pair(first, second)
    a, y = checked(a, labels)
    one, two = a.argmax(axis=1), b.argmax(axis=1)
    right_one, right_two, alike = one == y, two == y, one == two
    return FlipCounts(
        both_right=int((right_one & right_two).sum()),
        first_only=int((right_one & ~right_two).sum()),
        second_only=int((~right_one & right_two).sum()),
        both_wrong_alike=int((~right_one & alike).sum()),
        both_wrong_apart=int((~right_one & ~right_two & ~alike).sum()),
    )


def difference(
    score: Score, first: Any, second: Any, labels: Any, groups: Any = None, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """score(first) - score(second) with its interval, both on the same draws; None where the score is undefined.

    Where the interval spans 0 there is no proven difference.
    """
    a, b = _pair(first, second)
    a, y = checked(a, labels)
    b, y = checked(b, labels)
    return intervals(lambda w: (score.weighted(a, y, w) - score.weighted(b, y, w))[:, None], y, groups, draws, seed)[0]


def mcnemar(first: Any, second: Any, labels: Any) -> float:
    """Two-sided p of the exact McNemar test (1947) on right and wrong; 1.0 where the two are never right alone.

    It takes images as independent: with several images per patient it is too sure.
    """
    from scipy.stats import binomtest  # type: ignore[import-untyped, unused-ignore]

    counts = flips(first, second, labels)
    apart = counts.first_only + counts.second_only
    return float(binomtest(counts.first_only, apart, 0.5).pvalue) if apart else 1.0


def _pair(first: Any, second: Any) -> tuple[Floats, Floats]:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise MetricError(f"The two models' probabilities are {a.shape} and {b.shape}; the same (N, K) was expected.")
    return a, b
