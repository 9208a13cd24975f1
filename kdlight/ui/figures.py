"""What a card says of a pair beyond its scores: near-twins of training images, corrupted images, operating points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import streamlit as st

from kdlight.bundle import Card
from kdlight.contracts.reading import ROLES
from kdlight.metrics import Interval
from kdlight.metrics.operating import needed
from kdlight.metrics.robustness import HEADLINES, CorruptionCost
from kdlight.metrics.twins import TwinScores
from kdlight.ui import theme, words
from kdlight.ui.markup import put

KINDS = {"noise": "Noise", "blur": "Blur", "jpeg": "JPEG", "resample": "Fewer pixels", "gamma": "Gamma"}
MUST_NOT_MISS = "Classes that must not be missed: thresholds and what they cost"


def draw(card: Card) -> None:
    """A line or two, and the tables one click away."""
    for sentences in (leak(card.metrics.twins), robustness(card.metrics.corruptions), lacking(card)):
        if sentences:
            theme.line(" ".join(sentences))
    if card.metrics.corruptions:
        with st.expander("What noise, blur, JPEG, fewer pixels and gamma cost"):
            _table(card.metrics.corruptions)
    if card.operating:
        with st.expander(MUST_NOT_MISS):
            operating(card)


def lacking(card: Card) -> list[str]:
    """What an older card does not say, and what tells it, in a sentence; empty for a card that says everything."""
    parts = {
        "near-twins of training images (kdlight data check)": card.metrics.twins,
        "what noise and blur cost (kdlight evaluate --corruptions)": card.metrics.corruptions,
        "what the rim and a marker tell (kdlight evaluate --shortcuts)": card.metrics.shortcuts,
        "whether both look at the same places (kdlight evaluate --look-alike)": card.metrics.look_alike,
        "thresholds of classes that must not be missed (a new training)": card.operating,
        "what its images look like (a new training)": card.belonging,
    }
    names = [name for name, part in parts.items() if part is None]
    return [f"This card is from before these were measured: {words.listed(names)}."] if names else []


def leak(twins: TwinScores | None) -> list[str]:
    """The leak meter: the score with and without test images that the training has all but seen, in sentences."""
    if twins is None:
        return []
    if not twins.n:
        return [f"None of {twins.of} test images is a near-twin of a training image."]
    return [f"{twins.n} of {twins.of} test images are near-twins of training images."] + [
        f"{role.capitalize()}: balanced accuracy with near-twins {words.interval(score.with_twin)}, without "
        f"{words.interval(score.without_twin)}; a random split would have claimed {words.score(score.at_random)}."
        for role, score in twins.models.items()
        if score.at_random is not None
    ]


def robustness(costs: Sequence[CorruptionCost] | None) -> list[str]:
    """What the two corruptions that a pair is known by cost each model, in sentences."""
    named = [(HEADLINES[key], one) for one in costs or () if (key := (one.kind, one.severity)) in HEADLINES]
    return [
        f"{name}, on {one.n} test images: teacher {points(one.teacher)}, student {points(one.student)} points of "
        f"balanced accuracy; {loser(one)}."
        for name, one in named
    ]


def points(change: Interval | None) -> str:
    """A change of a score in points, with its sign and interval."""
    return "not measured" if change is None else f"{change.points:+.1f}"


def loser(cost: CorruptionCost) -> str:
    """Which model loses more, where the interval of the gap tells."""
    if cost.gap is not None and (cost.gap.below_zero or cost.gap.above_zero):
        return f"the {'student' if cost.gap.below_zero else 'teacher'} loses more"
    return "neither is shown to lose more"


def _table(costs: Sequence[CorruptionCost]) -> None:
    heads = [theme.head(), theme.head("Severity"), *(theme.head(role.capitalize(), role) for role in ROLES)]
    heads.append(theme.head("Student less teacher"))
    rows = [
        [KINDS.get(one.kind, one.kind), words.number(one.severity), *map(points, (one.teacher, one.student, one.gap))]
        for one in costs
    ]
    theme.line(
        "Change of balanced accuracy in points, with 95 % intervals. Severity 2 is noise of 8 of 255 gray levels, a "
        "blur of 1 pixel in 128, JPEG of quality 40, half the pixels across, or a gamma of 1.5; 1 is milder, 3 worse."
    )
    put(theme.table(heads, rows, row_heads=2))


def operating(card: Card, sensitivity: float | None = None) -> None:
    """The thresholds of a sensitivity, else of each class's own, and what they gave on the test images."""
    theme.line(
        "A class is not ruled out where a model's calibrated probability of it is at or above the threshold, which was "
        "chosen on calibration images. Both rates are those of the test images, with 95 % intervals."
    )
    columns = ("Sensitivity asked", "Threshold", "Sensitivity", "Specificity")
    heads = [theme.head(), theme.head("Model"), *map(theme.head, columns)]
    put(theme.table(heads, _operating_rows(card, sensitivity), row_heads=2))


def _operating_rows(card: Card, sensitivity: float | None) -> Iterator[list[str]]:
    named = {entry.name: entry.words for entry in card.classes}
    for name, points in (card.operating or {}).items():
        for role in ROLES:
            point = points.at(role, sensitivity)
            head = [named[name], role.capitalize(), words.percent(point.aim)]
            if point.threshold is None:
                few = f"none: {needed(point.aim)} calibration images are needed, {points.n} were there"
                yield [*head, few, *["not promised"] * 2]
            else:
                rates = map(words.interval, (point.sensitivity, point.specificity))
                yield [*head, f"{words.number(100 * point.threshold, 2)} %", *rates]
