"""The taught student against the student alone, in words.

The student alone may begin with other weights, so that a gain over it is never called proven: see `same_start`.
"""

from __future__ import annotations

from collections.abc import Mapping

TOO_FEW = "not told from 0 (too few images for an interval)"


def words(gain: Mapping[str, float | None] | None) -> str:
    """A difference {"value", "low", "high"} of 0 to 1 in points with its interval, and on which side of 0 it lies."""
    if gain is None or any(gain[name] is None for name in ("value", "low", "high")):
        return TOO_FEW
    value, low, high = (100 * (gain[name] or 0.0) for name in ("value", "low", "high"))
    side = "gain" if low > 0 else "loss" if high < 0 else "not told from 0:"
    return f"{side} {value:+.1f} [{low:+.1f}, {high:+.1f}]"


def in_points(gain: Mapping[str, float | None] | None) -> str:
    """The same with its unit, for a sentence."""
    said = words(gain)
    return said if said == TOO_FEW else f"{said} points"
