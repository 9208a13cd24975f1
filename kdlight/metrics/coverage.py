"""How often prediction sets hold the truth, over all images and by class, and whether that keeps their promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kdlight.metrics.conformal import SetKind, prediction_sets, score_of
from kdlight.metrics.intervals import Interval, distinct, intervals, or_wilson
from kdlight.metrics.ledger import holm
from kdlight.metrics.report import Measured
from kdlight.metrics.scores import Floats, checked, ratio

CHANCE = 0.05


class Held(Measured):
    """The share of images whose set holds the truth."""

    n: int
    share: Interval | None
    """0 to 1; None without images."""
    promised: bool
    """Whether the calibration had images enough for the level."""
    p: float | None
    """Chance of so few or fewer under a promise that is kept, one-sided, of classes raised by Holm over them; None
    where nothing was promised."""

    @property
    def broken(self) -> bool:
        """Whether the truth is missed more often than was promised, beyond chance."""
        return self.p is not None and self.p < CHANCE


class SetCoverage(Measured):
    """Sets of one kind, of one model, on one labeled set."""

    kind: SetKind
    level: float
    """The promise, 0 to 1: of all images, and of each class's where `kind` is by class."""
    all: Held
    classes: dict[str, Held]
    size: Interval | None
    """Mean number of classes in a set."""


def coverage(
    probabilities: Any,
    labels: Any,
    thresholds: Mapping[str, float],
    kind: SetKind,
    level: float,
    calibrated: Mapping[str | None, int | None],
    groups: Any = None,
) -> SetCoverage:
    """How a kind of sets does on images that had no part in setting their thresholds.

    probabilities (N, K), labels (N,), groups (N,) as in `report`; thresholds by class, in the order of the columns.
    calibrated: how many images or groups set them, by class and for all (None); 0 or absent where nothing was promised,
    None where it is not known.
    """
    p, y = checked(probabilities, labels)
    sets = prediction_sets(p, list(thresholds.values()), score_of(kind))
    hit, size = sets[np.arange(len(y)), y].astype(np.float64), sets.sum(axis=1).astype(np.float64)
    of_class = np.eye(p.shape[1])[y]  # (N, K)

    def values(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        by_class = ratio((weights * hit) @ of_class, weights @ of_class)
        return np.column_stack([ratio(weights @ hit, total), ratio(weights @ size, total), by_class])

    found = intervals(values, y, groups)
    every, mean, shares = found[0], found[1], found[2:]
    by_class = {
        name: _held(share, y == c, groups, level, calibrated.get(name, 0) if kind.startswith("class") else 0)
        for c, (name, share) in enumerate(zip(thresholds, shares, strict=True))
    }
    raised = holm({name: held.p for name, held in by_class.items() if held.p is not None})
    return SetCoverage(
        kind=kind,
        level=level,
        all=_held(every, y >= 0, groups, level, calibrated.get(None, 0)),
        classes={n: held.model_copy(update={"p": raised.get(n)}) for n, held in by_class.items()},
        size=mean,
    )


def _held(share: Interval | None, chosen: Any, groups: Any, level: float, calibrated: int | None) -> Held:
    units = distinct(groups, chosen)
    known = or_wilson(share, units)
    p = None if known is None or calibrated == 0 else _chance(known.value, units, level, calibrated)
    return Held(n=int(chosen.sum()), share=known, promised=calibrated != 0, p=p)


def _chance(share: float, units: int, level: float, calibrated: int | None) -> float:
    """P of `share` of the units or fewer held, where n calibration units promised `level`.

    The chance in those n is part of it: their threshold's true coverage is Beta(k, n + 1 - k) with k = ceil((n + 1)
    level), so the held ones are beta-binomial (Vovk 2012). Of an unknown n they are binomial. Groups count once each.
    """
    from scipy.stats import betabinom, binom  # type: ignore[import-untyped, unused-ignore]

    held = int(np.floor(share * units + 1e-9))
    if calibrated is None:
        return float(binom.cdf(held, units, level))
    k = int(np.ceil((calibrated + 1) * level - 1e-9))
    return float(betabinom.cdf(held, units, k, calibrated + 1 - k))
