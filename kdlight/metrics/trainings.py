"""A difference between two ways of training, with chance in the training as well as in the test images.

A bootstrap over test images holds chance in the images alone: it says what these very models do on other images, not
what the next training would give. With the deviation of the difference over seeds added, the interval is one of
Student's t with the degrees of freedom of Satterthwaite (Biometrics Bulletin 2, 1946). What image and seed do together
is in both parts, so the interval is rather too wide where the seeds hardly differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdlight.metrics.intervals import LEVEL, Interval, Z

ALPHA = 1 - LEVEL


@dataclass(frozen=True, slots=True)
class TrainingTest:
    """A mean difference over trainings, its 95 % interval, and the two-sided p of a true difference of 0."""

    interval: Interval
    p: float


def over_trainings(
    on_images: Interval | None, by_seed: Sequence[float], images: int | None = None
) -> TrainingTest | None:
    """on_images: the mean difference over the seeds, its bootstrap interval over test images; by_seed: the difference
    of each seed (S,), in the same unit; images: how many were tested, many if None.

    None where the interval has no bounds, where nothing varies, or below two seeds: one training does not tell what
    the next would give.
    """
    from scipy.stats import t  # type: ignore[import-untyped, unused-ignore]

    if on_images is None or on_images.low is None or on_images.high is None or len(by_seed) < 2:
        return None
    of_images = ((on_images.high - on_images.low) / (2 * Z)) ** 2
    of_seeds = float(np.var(by_seed, ddof=1)) / len(by_seed)
    variance = of_images + of_seeds
    if variance == 0:  # nothing varies in so little that anything could be said
        return None
    spread = of_images**2 / max(1, (images or 10**6) - 1) + of_seeds**2 / (len(by_seed) - 1)
    degrees, error = variance**2 / spread, math.sqrt(variance)
    half = float(t.ppf(1 - ALPHA / 2, degrees)) * error
    value = on_images.value
    p = 2 * float(t.sf(abs(value) / error, degrees))
    return TrainingTest(Interval(value, value - half, value + half), p)


def adjusted(ps: Sequence[float]) -> list[float]:
    """p values (M,) so raised that 5 % of those that end below 0.05 are false (Benjamini & Hochberg 1995)."""
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(ps)] if ps else []


def not_worse(difference: Interval | None, margin: float) -> bool:
    """Whether a difference is above -margin beyond chance: the lower bound of its interval is (non-inferiority)."""
    return difference is not None and difference.low is not None and difference.low > -margin
