"""A run's log as charts: one panel for the validation score, and one for each training objective.

A teacher's cross-entropy, a student's own and what a distillation method adds up are different quantities; on one axis
they would look comparable. The validation score is the same quantity for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd  # type: ignore[import-untyped, unused-ignore]
import streamlit as st

from kdlight.reports import pair
from kdlight.runs import EpochRecord
from kdlight.ui import theme
from kdlight.ui.charts import Chart, by_model

Log = Sequence[EpochRecord]
SERIES = {phase: title.lower() for phase, title in pair.MODELS.items()}
"""Phase -> its name beside the line."""
OBJECTIVES = {
    "Teacher's loss": ("teacher",),
    "Loss of the student without its teacher": ("alone", "scratch", "same_start"),
    "Loss of the student with its teacher": ("student",),
}
"""Panel -> the phases that minimize the same quantity."""
SCORE = "val_balanced_accuracy"
HEIGHTS = {SCORE: 300, "loss": 230}
"""Of a whole panel, in pixels."""
AXIS = 84
"""Pixels of it below the lines, for the epochs and their title."""
TICKS = 7
"""At most so many epochs are named on an axis."""
STEPS = (1, 2, 5)
ROOM = {SCORE: 0.26, "loss": 0.6}
"""Of the axis, behind the last epoch, for the names of the lines: more in the panels that stand side by side."""
APART = 18
"""Least distance of two names, in pixels."""


def draw(log: Log) -> None:
    """The validation score across the page, below it a panel per objective that was trained."""
    if rows(log, tuple(SERIES), SCORE):
        st.altair_chart(panel(log, tuple(SERIES), SCORE, "balanced accuracy on validation"), alt="Validation by epoch")
    panels = {title: phases for title, phases in OBJECTIVES.items() if rows(log, phases, "loss")}
    if not panels:
        return
    shares = [5 if len({row["role"] for row in rows(log, phases, "loss")}) > 1 else 3 for phases in panels.values()]
    for column, (title, phases) in zip(st.columns(shares, gap="medium"), panels.items(), strict=True):
        with column:
            theme.line(title)
            st.altair_chart(panel(log, phases, "loss", "training loss"), alt=f"{title} by epoch")
    if len(panels) > 1:
        theme.line("Each loss is a quantity of its own: compare its shape, not its height, with the others.")


def rows(log: Log, phases: Sequence[str], field: str) -> list[dict[str, Any]]:
    """What a panel draws: name of the line, epoch and value."""
    return [
        {"role": SERIES[record.phase], "epoch": record.epoch, "value": float(getattr(record, field))}
        for record in log
        if record.phase in phases
    ]


def panel(log: Log, phases: Sequence[str], field: str, title: str) -> Chart:
    """One figure by epoch for phases that share it, each line named at its end where there are several."""
    drawn = rows(log, phases, field)
    present = {row["role"] for row in drawn}
    longest = max(record.epochs for record in log if record.phase in phases)
    low, high = (score_domain if field == SCORE else loss_domain)([row["value"] for row in drawn])
    first, last = (1.0, float(longest)) if longest > 1 else (0.5, 1.5)
    room = ROOM[field] * (last - first) if len(present) > 1 else 0.0
    base = alt.Chart(pd.DataFrame(drawn)).encode(
        x=alt.X(
            "epoch:Q",
            title="epoch",
            scale=alt.Scale(domain=[first, last + room], nice=False),
            axis=alt.Axis(values=epoch_ticks(longest), format="d", grid=False),
        ),
        y=alt.Y(
            "value:Q",
            title=title,
            scale=alt.Scale(domain=[low, high], nice=False),
            axis=alt.Axis(tickCount=5, format="~g"),
        ),
        color=by_model(alt.Color, present),
    )
    lines = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=36)).encode(
        strokeDash=by_model(alt.StrokeDash, present),
        tooltip=[alt.Tooltip("role", title="model"), "epoch", alt.Tooltip("value", title=title, format=".3f")],
    )
    charted = lines + _names(drawn, (low, high), HEIGHTS[field] - AXIS) if len(present) > 1 else lines
    return charted.properties(height=HEIGHTS[field])


def epoch_ticks(longest: int) -> list[int]:
    """Whole epochs, the first among them, at steps of 1, 2 or 5 times a power of 10."""
    scale = 10 ** max(0, math.floor(math.log10(max(longest, 1))) - 1)
    steps = [step * scale * power for power in (1, 10) for step in STEPS]
    step = next(step for step in steps if longest / step <= TICKS)
    return [1, *(epoch for epoch in range(step, longest + 1, step) if epoch > 1)]


def score_domain(values: Sequence[float]) -> tuple[float, float]:
    """Tenths of the score around all values, at least three of them, within 0 to 1."""
    low, high = math.floor(10 * min(values) + 1e-9), math.ceil(10 * max(values) - 1e-9)
    for upward in (True, False) * 3:
        if high - low >= 3:
            break
        if low == 0 or (upward and high < 10):
            high += 1
        else:
            low -= 1
    return low / 10, high / 10


def loss_domain(values: Sequence[float]) -> tuple[float, float]:
    """From 0, or from below it where a loss is negative, to a little above the highest value."""
    low, high = min(0.0, min(values)), max(0.0, max(values))
    span = (high - low) or 1.0
    return (low - 0.08 * span if low < 0 else 0.0), high + 0.08 * span


def name_places(ends: Mapping[str, float], low: float, high: float, height: int) -> dict[str, float]:
    """Where on a y axis from low to high, `height` pixels tall, each line's name stands: at its last value, moved as
    far as the others ask."""
    apart = APART / height * (high - low)
    names = sorted(ends, key=ends.__getitem__)
    places: dict[str, float] = {}
    for number, name in enumerate(names):
        places[name] = max(ends[name], places[names[number - 1]] + apart if number else low)
    ceiling = high
    for name in reversed(names):
        places[name] = min(places[name], ceiling)
        ceiling = places[name] - apart
    return places


def _names(rows_of: Sequence[Mapping[str, Any]], domain: tuple[float, float], height: int) -> Chart:
    """Behind the last epoch side by side with the lines, and above the end of lines that stop earlier."""
    ends = {row["role"]: row for row in rows_of}  # the last of each
    longest = max(row["epoch"] for row in ends.values())
    placed = []
    for epoch in {row["epoch"] for row in ends.values()}:
        together = {name: row["value"] for name, row in ends.items() if row["epoch"] == epoch}
        places = name_places(together, *domain, height)
        placed += [{**ends[name], "value": place} for name, place in places.items()]
    behind = [row for row in placed if row["epoch"] == longest]
    above = [row for row in placed if row["epoch"] < longest]
    names = _text(behind, ends, align="left", dx=9, baseline="middle")
    return names + _text(above, ends, align="left", dx=4, dy=-10, baseline="bottom") if above else names


def _text(rows_of: Sequence[Mapping[str, Any]], present: Iterable[str], **where: Any) -> Chart:
    mark = alt.Chart(pd.DataFrame(rows_of)).mark_text(fontSize=13, **where)
    return mark.encode(x="epoch:Q", y="value:Q", text="role:N", color=by_model(alt.Color, present))
