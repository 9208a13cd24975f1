"""Compare: what both models answer by the rim, the center, corners or a marker alone, and by where an image is from."""

from __future__ import annotations

import altair as alt
import pandas as pd  # type: ignore[import-untyped, unused-ignore]
import streamlit as st

from kdlight.bundle import Bundle
from kdlight.contracts.reading import ROLES
from kdlight.metrics.shortcuts import PROBES, Shortcuts
from kdlight.reports import shortcuts
from kdlight.reports.measured import named
from kdlight.ui import charts, documents, theme


def draw(bundle: Bundle, found: Shortcuts | None) -> None:
    """A sentence or two and a chart; the figures one click away. Nothing for a card from before it was probed."""
    if found is None:
        return
    st.subheader("Shortcuts: what the answer rests on", anchor=False)
    theme.line(" ".join(shortcuts.sentences(found)))
    st.altair_chart(_chart(found), alt="Balanced accuracy of both models by each probe")
    with st.expander("Every probe, with intervals"):
        documents.draw_each(shortcuts.every(found))
    for of in found.sources:
        documents.draw_each(shortcuts.source(of, named(bundle.card)))


def _chart(found: Shortcuts) -> charts.Chart:
    """A row for each probe, both models with their intervals, a line at chance."""
    of = {shortcuts.WHOLE: found, **{PROBES[probe.kind]: probe for probe in found.probes}}
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
