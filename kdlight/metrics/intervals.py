"""95 % intervals by the percentile bootstrap (Efron 1979): within each class, by group where images belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlight.metrics.scores import Floats, Ints, MetricError, Score, checked

DRAWS = 1000
LEVEL = 0.95
MOST_UNDEFINED = 0.05
"""Above this share of draws without a value no interval is given."""
CELLS = 2_000_000
"""Weights held at once: 16 MB."""
Z = 1.959963984540054
"""The 0.975 quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and its 95 % interval; the bounds are None where too few draws define them.

    `f"{interval:.3f}"` writes `0.917 [0.884, 0.951]`, each number by the format; without bounds the value alone.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        bounds = "" if self.low is None or self.high is None else f" [{self.low:{spec}}, {self.high:{spec}}]"
        return f"{self.value:{spec}}{bounds}"

    def __str__(self) -> str:
        return format(self)

    @property
    def points(self) -> Interval:
        """A difference of 0 to 1 in points of 0.01."""
        low, high = (None if bound is None else 100 * bound for bound in (self.low, self.high))
        return Interval(100 * self.value, low, high)

    @property
    def constant(self) -> bool:
        """Every draw gave the same: the bootstrap says nothing."""
        return self.low is not None and self.low == self.high

    @property
    def above_zero(self) -> bool:
        """For a difference: a gain is proven."""
        return self.low is not None and self.low > 0

    @property
    def below_zero(self) -> bool:
        """For a difference: a loss is proven."""
        return self.high is not None and self.high < 0

    @property
    def spans_zero(self) -> bool:
        """For a difference: True where neither is proven, also where the interval is not known."""
        return not self.above_zero and not self.below_zero

    def to_json(self) -> dict[str, float | None]:
        return asdict(self)


def interval(
    score: Score, probabilities: Any, labels: Any, groups: Any = None, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """A score with its interval; None where the score is undefined.

    groups: (N,) what belongs together (patient, lesion): whole groups are drawn. Raises MetricError.
    """
    p, y = checked(probabilities, labels)
    return intervals(lambda w: score.weighted(p, y, w)[:, None], y, groups, draws, seed)[0]


def intervals(
    values: Callable[[Floats], Floats], labels: Ints, groups: Any = None, draws: int = DRAWS, seed: int = 0
) -> list[Interval | None]:
    """Intervals of several values at once, all on the same draws.

    values: weights (D, N) to values (D, M), NaN where undefined.
    """
    point = values(np.ones((1, len(labels))))[0]
    drawn = np.concatenate([values(w) for w in bootstrap_weights(labels, groups, draws, seed)])
    return [_percentiles(float(point[m]), drawn[:, m]) for m in range(len(point))]


def bootstrap_weights(labels: Ints, groups: Any = None, draws: int = DRAWS, seed: int = 0) -> Iterator[Floats]:
    """How often each image is drawn: parts (d, N) of a matrix (draws, N).

    Drawn with replacement within each class, so each draw keeps the class counts; with groups, whole groups within
    those of the same (first) class. Seeded by NumPy's PCG64. Raises MetricError where groups do not fit the labels.
    """
    unit, strata = _units(labels, groups)
    rng = np.random.default_rng(seed)
    at_once = max(1, CELLS // len(labels))
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        weights = np.zeros((size, len(strata)))
        for stratum in np.unique(strata):
            members = np.flatnonzero(strata == stratum)
            picked = rng.integers(len(members), size=(size, len(members)))
            flat = picked + np.arange(size)[:, None] * len(members)
            weights[:, members] = np.bincount(flat.ravel(), minlength=size * len(members)).reshape(size, -1)
        yield weights[:, unit]


def _units(labels: Ints, groups: Any) -> tuple[Ints, Ints]:
    """Index of each image's unit of drawing (N,), and each unit's stratum (U,)."""
    if groups is None:
        return np.arange(len(labels)), labels
    groups = np.asarray(groups)
    if groups.shape != labels.shape:
        raise MetricError(f"Groups are {groups.shape} and labels {labels.shape}; one group per image was expected.")
    _, first, unit = np.unique(groups, return_index=True, return_inverse=True)
    return unit, labels[first]


def _percentiles(value: float, drawn: Floats) -> Interval | None:
    """Widened to hold the value itself: draws of a calibration error near 0 all lie above it."""
    if np.isnan(value):
        return None
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < (1 - MOST_UNDEFINED) * len(drawn):
        return Interval(value, None, None)
    low, high = np.percentile(defined, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def wilson(share: float, n: int) -> Interval:
    """The score interval of a share of n (Wilson 1927): stands in where every bootstrap draw agrees, as for 5 of 5."""
    center = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * float(np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)))
    return Interval(share, max(0.0, center - half), min(1.0, center + half))


def or_wilson(share: Interval | None, n: int) -> Interval | None:
    """A share whose draws all agree (5 of 5) says nothing by bootstrap; its Wilson interval does."""
    return wilson(share.value, n) if share and share.constant else share


def distinct(groups: Any, chosen: NDArray[np.bool_]) -> int:
    """How many independent units the chosen images are: images, or groups where given."""
    return int(chosen.sum()) if groups is None else len(np.unique(np.asarray(groups)[chosen]))
