"""Drift in words: whether new images are like those of the training's set, in what they differ, and what may be why."""

from __future__ import annotations

from collections.abc import Iterator

from kdlight.metrics.drift import LEAST, Drift, Shift
from kdlight.reports import words
from kdlight.reports.document import Block, Cell, Paragraph, Table

EARLY = 3
"""Stages that hold what a scanner or camera leaves in an image; later ones hold what it shows (docs/trust.md)."""


def sentences(found: Drift) -> Iterator[str]:
    """The verdict first."""
    counts = f"n = {found.n}, against {found.reference} held-out images of the training's set"
    if found.few:
        yield f"Too few images to say whether these differ from the training images ({counts}; {LEAST} are needed)."
    elif not found.seen:
        yield f"No drift seen ({counts})."
    else:
        kinds = words.listed(list(dict.fromkeys(map(_kind, found.seen))))
        yield f"These images differ from the training images in {kinds} ({counts}); scores of the card may not hold."
    mix = found.mix
    if mix is not None and mix.differs:
        share = words.percent(mix.apart)
        yield f"Their classes are mixed otherwise than in training: {share} of the images would have to change class."
        if found.seen:
            yield "That alone can make images differ."


def details(found: Drift) -> Iterator[Block]:
    """Every number that was compared."""
    if not found.shifts:
        return
    yield Paragraph(
        "Each number that the student's features say of an image, compared by the test of Kolmogorov and Smirnov; p is "
        "raised by Holm. Apart: 0 where both sets are alike, 1 where they do not overlap. Change: of the median, in "
        "standard deviations."
    )
    rows: list[tuple[Cell, ...]] = [
        (_name(one), f"{one.apart:.2f}", f"{one.change:+.1f}", words.p_value(one.adjusted)) for one in found.shifts
    ]
    yield Table(("", "Apart", "Change", "p"), tuple(rows))


def _kind(shift: Shift) -> str:
    if shift.what == "odds":
        return "how they are turned, mirrored or inverted"
    if shift.stage is not None and shift.stage > EARLY:
        return "what they show"
    return "brightness, contrast, sharpness or noise"


def _name(shift: Shift) -> str:
    if shift.stage is None:
        return {"distance": "Distance from the training images", "odds": "Odds of being a turned copy"}[shift.what]
    return f"Stage {shift.stage}, {'level' if shift.what == 'level' else 'spread'} of its features"
