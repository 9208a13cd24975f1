"""Whether two models look at the same places over a set, and whether they do where their answers part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from kdlight.metrics.intervals import Interval, intervals
from kdlight.metrics.report import IF_KNOWN, Measured


class MapCase(Measured):
    """One image: how far the maps of the two models' own answers, and their answers, are apart."""

    path: str
    truth: str
    teacher: str
    """The class that it answers."""
    student: str
    probability_gap: float
    """Half the summed difference of their probabilities (total variation), 0 to 1."""
    rank_correlation: float | None
    """Spearman's over the places of the two maps, -1 to 1; None where one is flat, as of `overlap`."""
    overlap: float | None
    """Of the strongest fifth of the places of the one map, the share that is among the other's; .2 by chance."""

    @property
    def map_gap(self) -> float | None:
        """1 less the rank correlation, 0 to 2."""
        return None if self.rank_correlation is None else 1 - self.rank_correlation


class LookAlike(Measured):
    """Over the images of a set of which neither map is flat."""

    method: str
    n: int
    flat: int
    """Images that are not counted: a map without contrast has no order."""
    rank_correlation: Interval | None
    """Mean over the images, as of `overlap`."""
    overlap: Interval | None
    gaps: Interval | None
    """Rank correlation over the images of the probability gap with the map gap: above 0, the models look at other
    places where they answer otherwise."""
    cases: Annotated[tuple[MapCase, ...] | None, IF_KNOWN] = None
    """None where images are not to be named, as in a card."""


def look_alike(method: str, cases: Sequence[MapCase], labels: np.ndarray, groups: Any = None) -> LookAlike:
    """The means with intervals drawn within each class of labels (N,), by group; in the order of the cases."""
    seen = np.array([case.rank_correlation is not None for case in cases], dtype=np.bool_)
    rows = [(case.rank_correlation, case.overlap, case.probability_gap) for case in cases if case.overlap is not None]
    found: list[Interval | None] = [None] * 3
    if len(rows) > 1:
        values = np.array(rows, dtype=np.float64)
        unit = None if groups is None else np.asarray(groups)[seen]
        found = intervals(lambda w: _values(values, w), labels[seen], unit)
    return LookAlike(
        method=method,
        n=len(rows),
        flat=len(cases) - len(rows),
        rank_correlation=found[0],
        overlap=found[1],
        gaps=found[2],
        cases=tuple(cases),
    )


def _values(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(D, 3): both means, and Spearman's correlation of the gaps, ranks taken over all images."""
    from scipy.stats import rankdata  # type: ignore[import-untyped, unused-ignore]

    share = weights / weights.sum(axis=1, keepdims=True)
    ranks = np.stack([rankdata(-values[:, 0]), rankdata(values[:, 2])])
    centered = ranks[None] - (share @ ranks.T)[:, :, None]  # (D, 2, N)
    covariance = np.einsum("dn,dan,dbn->dab", share, centered, centered)
    spread = np.sqrt(covariance[:, 0, 0] * covariance[:, 1, 1])
    r = np.divide(covariance[:, 0, 1], spread, out=np.full(len(spread), np.nan), where=spread > 0)
    return np.column_stack([share @ values[:, :2], r])
