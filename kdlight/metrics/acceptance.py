"""Does a rate clear a bar? Exact one-sided bounds decide, and where they do not, how many more cases would.

The bounds of a rate are Clopper and Pearson's (Biometrika 26, 1934). A difference of two models on the same cases is
the share gained less the share lost, each bounded at half the error: exact and on the careful side.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kdlight.metrics.scores import Floats

Outcome = Literal["pass", "fail", "too few"]
POWER = 0.8
"""Chance of a decision that `more_cases` asks for."""
MOST = 100_000
"""Further cases beyond which none are asked for: the rate is too near the bar."""
DRAWS = 2_000


@dataclass(frozen=True, slots=True)
class Rate:
    """x of n, less what was expected of them (0 for a plain share)."""

    x: Any
    n: int
    expected: float = 0.0

    @property
    def value(self) -> float | None:
        """None without a case."""
        return float(self.x) / self.n - self.expected if self.n else None

    def bounds(self, error: float) -> tuple[Floats, Floats]:
        """Below and above: each is wrong with chance `error` at most."""
        low, high = clopper_pearson(self.x, self.n, error)
        return low - self.expected, high - self.expected

    def further(self, m: int, draws: int, rng: np.random.Generator, target: tuple[float, float]) -> Rate:
        """With m more cases like these, drawn often: x (draws,).

        Of a plain share no better than half way from the bar to 1 is assumed, and that where there is no case.
        """
        likely = (target[0] + 1) / 2
        if self.n:
            likely = min(likely, self.x / self.n) if target[1] >= 1 else (self.x + 0.5) / (self.n + 1)
        return Rate(self.x + rng.binomial(m, likely, draws), self.n + m, self.expected)


@dataclass(frozen=True, slots=True)
class Change:
    """Of n cases those that one model alone answers rightly (lost) and those that the other alone does (gained)."""

    lost: Any
    gained: Any
    n: int

    @property
    def value(self) -> float | None:
        return float(self.gained - self.lost) / self.n if self.n else None

    def bounds(self, error: float) -> tuple[Floats, Floats]:
        lost, gained = (clopper_pearson(x, self.n, error / 2) for x in (self.lost, self.gained))
        return gained[0] - lost[1], gained[1] - lost[0]

    def further(self, m: int, draws: int, rng: np.random.Generator, target: tuple[float, float]) -> Change:
        """Half a case is added to each count, so that what was not seen yet is not ruled out."""
        lost, gained = ((x + 0.5) / (self.n + 1.5) for x in (self.lost, self.gained))
        drawn = rng.multinomial(m, [lost, gained, 1 - lost - gained], draws)
        return Change(self.lost + drawn[:, 0], self.gained + drawn[:, 1], self.n + m)


Counts = Rate | Change
"""What was counted, for a figure that is to lie in a range."""


def clopper_pearson(x: Any, n: int, error: float) -> tuple[Floats, Floats]:
    """One-sided exact bounds of a share of which x of n were seen, each wrong with chance `error` at most."""
    from scipy.special import betaincinv  # type: ignore[import-untyped, unused-ignore]

    x, place = np.unique(x, return_inverse=True)
    low = np.where(x > 0, betaincinv(np.maximum(x, 1), n - x + 1, error), 0.0)
    high = np.where(x < n, betaincinv(x + 1, np.maximum(n - x, 1), 1 - error), 1.0)
    return low[place], high[place]


def decided(counts: Counts, target: tuple[float, float], error: float, fail_error: float) -> tuple[Any, Any]:
    """Whether the figure is proven to lie in the closed range `target`, and whether outside of it."""
    low, high = counts.bounds(error)
    beyond, above = counts.bounds(fail_error)
    return (low >= target[0]) & (high <= target[1]), (above < target[0]) | (beyond > target[1])


def outcome(
    counts: Counts, target: tuple[float, float], error: float, fail_error: float
) -> tuple[Outcome, float, float]:
    """The decision and the bounds that decided; those at `error` where the cases are too few."""
    passed, failed = decided(counts, target, error, fail_error)
    low, high = (float(bound) for bound in counts.bounds(fail_error if failed else error))
    return ("pass" if passed else "fail" if failed else "too few"), low, high


def more_cases(
    counts: Counts, target: tuple[float, float], error: float, fail_error: float, power: float = POWER
) -> int | None:
    """How many more cases decide with chance `power`, if they go as those so far; None where MOST would not.

    Found by simulation, to two digits.
    """

    def decides(m: int) -> bool:
        drawn = counts.further(m, DRAWS, np.random.default_rng(0), target)
        return bool(np.mean(np.logical_or(*decided(drawn, target, error, fail_error))) >= power)

    few = next((m for m in range(1, 10) if decides(m)), None)
    if few or not decides(MOST):
        return few
    tried = [m for size in (10, 100, 1_000, 10_000) for m in range(size, 10 * size, size // 10)] + [MOST]
    return tried[bisect.bisect_left(tried, True, key=decides)]
