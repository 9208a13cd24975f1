"""Whether new images are distributed as those that a model was made with, by what its features say of each image.

Each number of an image's summary is held against the same of held-out images by the two-sample test of Kolmogorov and
Smirnov, and the p values are raised by Holm (1979). After Rabanser et al. 2019 (https://arxiv.org/abs/1810.11953), who
found such tests with a correction to be as good as multivariate ones; what summaries to take is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from kdlight.metrics.ledger import holm
from kdlight.metrics.report import Measured
from kdlight.metrics.scores import Floats

CHANCE = 0.05
LEAST = 10
"""Images, of as many groups, below which nothing is said. Ours: five of ten would have to lie apart to be seen."""
Summary = Literal["distance", "odds", "level", "spread"]


class Shift(Measured):
    """Of one number of the summary."""

    what: Summary
    """Distance, odds: see `kdlight.trust.belonging`. Level, spread: mean and mean size of a stage's features, each in
    standard deviations of the training images."""
    stage: int | None
    """Counted from 1; None of distance and odds."""
    apart: float
    """Largest difference of the two distribution functions, 0 to 1."""
    change: float
    """Of the median, in standard deviations of the held-out images."""
    p: float
    adjusted: float
    """By Holm over the summary."""


class ClassMix(Measured):
    """The classes of the new images, by their labels, against those of the training images."""

    apart: float
    """Share of images that would have to change class for both mixes to be one, 0 to 1."""
    p: float
    """Of the chi-square test."""

    @property
    def differs(self) -> bool:
        return self.p < CHANCE


class Drift(Measured):
    """New images against held-out ones of the training's own set, one of each group."""

    n: int
    reference: int
    """Held-out images."""
    shifts: tuple[Shift, ...]
    """The whole summary; empty where `n` or `reference` is below LEAST."""
    mix: ClassMix | None = None
    """None without labels."""

    @property
    def few(self) -> bool:
        return min(self.n, self.reference) < LEAST

    @property
    def seen(self) -> tuple[Shift, ...]:
        """What differs beyond chance: under no drift at all there is any in at most one of twenty sets."""
        return tuple(shift for shift in self.shifts if shift.adjusted < CHANCE)


def drift(reference: Floats, new: Floats, mix: ClassMix | None = None) -> Drift:
    """Summaries (R, S) and (N, S), rows independent: distance, odds, each stage's level, each stage's spread."""
    found = Drift(n=len(new), reference=len(reference), shifts=(), mix=mix)
    if found.few:
        return found
    from scipy.stats import ks_2samp  # type: ignore[import-untyped, unused-ignore]

    names = _names(reference.shape[1])
    tests = [ks_2samp(reference[:, i], new[:, i]) for i in range(len(names))]
    raised = holm({str(i): float(test.pvalue) for i, test in enumerate(tests)})
    moved = (np.median(new, axis=0) - np.median(reference, axis=0)) / (reference.std(axis=0) + 1e-12)
    shifts = tuple(
        Shift(
            what=what,
            stage=stage,
            apart=float(test.statistic),
            change=float(moved[i]),
            p=float(test.pvalue),
            adjusted=raised[str(i)],
        )
        for i, ((what, stage), test) in enumerate(zip(names, tests, strict=True))
    )
    return found.model_copy(update={"shifts": shifts})


def _names(columns: int) -> list[tuple[Summary, int | None]]:
    stages = range(1, (columns - 2) // 2 + 1)
    levels: list[tuple[Summary, int | None]] = [("level", stage) for stage in stages]
    return [("distance", None), ("odds", None), *levels, *(("spread", stage) for stage in stages)]


def class_mix(before: Mapping[str, int], now: Mapping[str, int], classes: Sequence[str]) -> ClassMix | None:
    """Counts of images by class; None where either is empty, or they have but one class."""
    table = np.array([[counts.get(name, 0) for name in classes] for counts in (before, now)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return None
    from scipy.stats import chi2_contingency

    shares = table / table.sum(axis=1, keepdims=True)
    p = chi2_contingency(table, correction=False).pvalue
    return ClassMix(apart=float(np.abs(shares[0] - shares[1]).sum() / 2), p=float(p))
