"""Compare: what both models answer by the rim, the center, corners or a marker alone, and by where an image is from."""

from __future__ import annotations

from collections.abc import Iterator

import altair as alt
import pandas as pd  # type: ignore[import-untyped, unused-ignore]
import streamlit as st

from kdlight.bundle import Bundle
from kdlight.contracts.reading import ROLES
from kdlight.metrics import Interval
from kdlight.metrics.shortcuts import PROBES, Probe, Shortcuts, Sources, above
from kdlight.ui import charts, figures, theme, words
from kdlight.ui.markup import Markup, put

WHOLE = "whole image"


def draw(bundle: Bundle, found: Shortcuts | None) -> None:
    """A sentence or two and a chart; the figures one click away. Nothing for a card from before it was probed."""
    if found is None:
        return
    st.subheader("Shortcuts: what the answer rests on", anchor=False)
    theme.line(" ".join(sentences(found)))
    st.altair_chart(_chart(found), alt="Balanced accuracy of both models by each probe")
    with st.expander("Every probe, with intervals"):
        theme.line(
            "The rim is a tenth of the side; the rest then comes from other images, one of each class. Changed: share "
            "of images whose answer is another than to the whole image."
        )
        put(theme.table(_heads("Student less teacher", "Teacher changed", "Student changed"), _rows(found)))
    for of in found.sources:
        _sources(bundle, of)


def sentences(found: Shortcuts) -> Iterator[str]:
    """What the rim alone tells, whether that is more of one model, and what a marker does."""
    rim, marker, chance = found.of("rim"), found.of("marker"), words.score(found.chance)
    if rim is not None:
        yield (
            f"From the rim alone the teacher still has a balanced accuracy of {words.interval(rim.teacher)} and the "
            f"student of {words.interval(rim.student)}, where chance is {chance} (n = {rim.n})."
        )
        proven: list[str] = [role for role in ROLES if above(getattr(rim, role), found.chance)]
        if proven:
            yield f"What lies outside of the center tells the {words.listed(proven)} something of the class."
        yield _distilled(rim)
    if marker is not None:
        yield (
            f"A white letter in the corner changes a share of {words.interval(marker.teacher_changed)} of the "
            f"teacher's answers and of {words.interval(marker.student_changed)} of the student's."
        )


def _distilled(rim: Probe) -> str:
    """Whether the student leans on the rim more than its teacher."""
    gap = rim.gap
    if gap is None or gap.spans_zero:
        return "That distillation changed this is not shown."
    side = "more" if gap.above_zero else "less"
    return f"The student draws {side} from it than its teacher: {figures.points(gap)} points."


def _heads(*others: str) -> list[Markup]:
    return [theme.head(), *(theme.head(role.capitalize(), role) for role in ROLES), *map(theme.head, others)]


def _rows(found: Shortcuts) -> Iterator[list[str]]:
    yield [WHOLE, words.interval(found.teacher), words.interval(found.student), "", "", ""]
    for probe in found.probes:
        gap = "" if probe.gap is None else figures.points(probe.gap)
        pair, changed = (probe.teacher, probe.student), (probe.teacher_changed, probe.student_changed)
        yield [PROBES[probe.kind], *map(words.interval, pair), gap, *map(words.interval, changed)]


def _sources(bundle: Bundle, of: Sources) -> None:
    """How much more probable a source's class is to images that are of it, beside what the source alone would tell."""
    theme.line(
        f"Who knew nothing but the {of.column} of an image would tell its class with a balanced accuracy of "
        f"{words.score(of.told)}. How much more probable the class that a {of.column} goes with is for other images of "
        f"that {of.column}, in points:"
    )
    rows = [
        [f"{one.source}, toward {bundle.words(one.toward)}", *map(_points, (one.teacher, one.student, one.gap))]
        for one in of.values
    ]
    put(theme.table(_heads("Student less teacher"), rows))


def _points(shift: Interval | None) -> str:
    return "not to be told from the class" if shift is None else figures.points(shift)


def _chart(found: Shortcuts) -> charts.Chart:
    """A row for each probe, both models with their intervals, a line at chance."""
    of = {WHOLE: found, **{PROBES[probe.kind]: probe for probe in found.probes}}
    rows = [
        {"probe": name, "role": role, "accuracy": score.value, "low": score.low, "high": score.high}
        for name, one in of.items()
        for role in ROLES
        if (score := getattr(one, role)) is not None
    ]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("probe:N", title=None, sort=[*of], axis=alt.Axis(labelFontSize=13, labelLimit=200, grid=False)),
        yOffset=alt.YOffset("role:N", sort=[*ROLES]),
        color=charts.by_model(alt.Color, ROLES),
        tooltip=["probe", "role", alt.Tooltip("accuracy", format=".2f")],
    )
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("accuracy:Q", title="balanced accuracy", scale=scale)
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title="balanced accuracy", scale=scale), x2="high:Q")
    points = base.mark_point(filled=True, size=90, opacity=1).encode(x=x, shape=charts.by_model(alt.Shape, ROLES))
    chance = alt.Chart(pd.DataFrame({"x": [found.chance], "words": ["chance"]})).encode(x="x:Q")
    line = chance.mark_rule(color=theme.color("text"), strokeDash=[4, 4])
    name = chance.mark_text(align="left", dx=6, fontSize=12, color=theme.color("text")).encode(
        y=alt.value(8), text="words:N"
    )
    return (line + name + bars + points).properties(height=48 * len(of))
