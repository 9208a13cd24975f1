"""Words for people on the pages: those of every document, and what only a page says."""

from __future__ import annotations

import errno

from kdlight.explain import EXPLAINERS
from kdlight.reports.words import (
    architecture,
    interval,
    listed,
    megabytes,
    millions,
    number,
    p_value,
    percent,
    score,
)

__all__ = ["architecture", "interval", "listed", "megabytes", "millions", "number", "p_value", "percent", "score"]
__all__ += ["duration", "faster", "many", "method", "plain", "sentence", "times"]

PRECISION = "Scores go from 0 to 1, in two decimals with 95 % intervals in brackets."
ROUNDED = "Scores in two decimals; differences were taken before rounding, in points of 0.01."
"""How scores are written on every page: test sets of this size warrant no third decimal."""

METHODS = {e.name: f"{e.title} (slow)" if e.cost == "slow" else e.title for e in EXPLAINERS.values() if e.available}
"""The heat map methods that can run here; one whose package is missing is left out."""


def duration(seconds: float) -> str:
    """Seconds as 40 s, 12 min or 2 h 5 min."""
    seconds = max(0, round(seconds))
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def times(ratio: float) -> str:
    return f"{number(ratio, 2)} x"


def faster(ratio: float) -> str:
    """7 x faster, or how many times slower where the ratio is below 1."""
    return f"{times(ratio)} faster" if ratio >= 1 else f"{times(1 / ratio)} slower"


def many(count: int, what: str) -> str:
    """1 core, 2 cores."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def method(name: str) -> str:
    return METHODS.get(name, name)


def sentence(error: BaseException) -> str:
    """An error as one line for the page. Only ValueErrors are written for people; others are named, never shown."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full; free some space and try again."
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "This place may not be written to; change its permissions or choose another one."
    text = " ".join(str(error).split())
    return (
        text if isinstance(error, ValueError) and text else f"It failed for a reason of ours ({type(error).__name__})."
    )


def plain(text: object) -> str:
    """Text from outside, made harmless for Streamlit's Markdown."""
    printable = filter(str.isprintable, str(text))
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>()#+!|$~:" else c for c in printable)
