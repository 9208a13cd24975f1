"""The taught student against the student alone, in words.

The student alone may begin with other weights, so that a gain over it is never called proven: see `same_start`.
"""

from __future__ import annotations

from collections.abc import Mapping

from kdlight.metrics import Interval

TOO_FEW = "not told from 0 (too few images for an interval)"


def words(gain: Mapping[str, float | None] | None) -> str:
    """A difference {"value", "low", "high"} of 0 to 1 in points with its interval, and on which side of 0 it lies."""
    interval = Interval.of(gain)
    if interval is None or interval.low is None:
        return TOO_FEW
    side = "gain" if interval.above_zero else "loss" if interval.below_zero else "not told from 0:"
    return f"{side} {interval.points:+.1f}"


def in_points(gain: Mapping[str, float | None] | None) -> str:
    """The same with its unit, for a sentence."""
    said = words(gain)
    return said if said == TOO_FEW else f"{said} points"
