"""Compare: whether the student looks where its teacher looks, image by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import altair as alt
import pandas as pd  # type: ignore[import-untyped, unused-ignore]
import streamlit as st

from kdlight.bundle import Bundle
from kdlight.contracts.reading import ROLES
from kdlight.metrics.look_alike import LookAlike
from kdlight.ui import charts, theme, words
from kdlight.ui.compare import measurement
from kdlight.ui.markup import put, write
from kdlight.workers.requests import ShownCase

ACROSS, MOST = 4, 12
ORDERS = {"maps apart": "map_gap", "answers apart": "probability_gap"}
"""What the images are sorted by, and the figure that it is."""


def draw(bundle: Bundle, found: LookAlike | None, cases: Sequence[ShownCase]) -> None:
    """A sentence or two; with a measured set the gaps of all its images, and those that are farthest apart."""
    if found is None:
        return
    st.subheader("Does the student look where its teacher looks?", anchor=False)
    theme.line(" ".join(sentences(found)))
    known = [case for case in cases if case.map_gap is not None]
    if not known:
        return
    theme.line("A point is an image: how far the answers are apart, and the heat maps. A click opens it in Read.")
    event = st.altair_chart(_scatter(known), on_select="rerun", key="look alike", alt="Gap of answers and of heat maps")
    picked = event.selection.get("case", [])
    if picked:
        _open(bundle, known[int(picked[0]["number"])])
    with st.expander("The images whose maps or answers are farthest apart"):
        order = st.segmented_control("Sorted by", [*ORDERS], default="maps apart", required=True)
        drawn = [case for case in known if case.pictures]
        drawn.sort(key=lambda case: -getattr(case, ORDERS[order]))
        _grid(bundle, drawn[:MOST])


def sentences(found: LookAlike) -> Iterator[str]:
    """How alike the maps are, and whether they part where the answers do."""
    yield (
        f"Over {found.n} images the heat maps of their answers have a rank correlation of "
        f"{words.interval(found.rank_correlation)} and {words.interval(found.overlap)} of their strongest fifth in "
        "common (0.20 by chance)."
    )
    if found.flat:
        yield f"Images with a flat map, which has no order: {found.flat}, not counted."
    if found.gaps is not None and found.gaps.above_zero:
        yield f"Where they answer otherwise, they look at other places (rank correlation {words.interval(found.gaps)})."
    elif found.gaps is not None:
        yield "That they look at other places where they answer otherwise is not shown."


def _scatter(cases: Sequence[ShownCase]) -> charts.Chart:
    rows = [
        {
            "number": number,
            "answers": case.probability_gap,
            "maps": case.map_gap,
            "kind": "same answer" if case.teacher == case.student else "other answer",
        }
        for number, case in enumerate(cases)
    ]
    kinds = alt.Scale(domain=["same answer", "other answer"], range=[theme.color("alone"), theme.color("student")])
    shapes = alt.Scale(domain=["same answer", "other answer"], range=["circle", "diamond"])
    picked = alt.selection_point("case", fields=["number"], on="click")
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_point(filled=True, size=70, opacity=0.8, cursor="pointer")
        .encode(
            x=alt.X("answers:Q", title="gap of the answers, 0 to 1", scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("maps:Q", title="gap of the maps, 1 less their rank correlation"),
            color=alt.Color("kind:N", scale=kinds, title=None, legend=alt.Legend(orient="top")),
            shape=alt.Shape("kind:N", scale=shapes, title=None, legend=alt.Legend(orient="top")),
            tooltip=["kind", alt.Tooltip("answers", format=".2f"), alt.Tooltip("maps", format=".2f")],
        )
        .add_params(picked)
        .properties(height=charts.HEIGHT)
    )


def _grid(bundle: Bundle, cases: Sequence[ShownCase]) -> None:
    """Both maps of each image side by side, with what the models answer."""
    columns = st.columns(ACROSS, gap="small")
    for number, case in enumerate(cases):
        with columns[number % ACROSS]:
            left, right = st.columns(2, gap="xsmall")
            for place, role in zip((left, right), ROLES, strict=True):
                about = f"Heat map of the {role} over an image of the labeled set"
                address = f"data:image/png;base64,{case.pictures[role]}"
                put(write('<img class="kd-thumb" src="{}" alt="{}">', address, about), place)
                answer = bundle.words(getattr(case, role))
                put(write('<span class="kd-said {}">{}</span>', role, f"{role} {answer}"), place)
            theme.line(f"Truth {bundle.words(case.truth)}. Rank correlation {case.rank_correlation:.2f}.")
            if case.file and st.button("Read", key=f"look {case.path}", width="stretch"):
                _open(bundle, case)


def _open(bundle: Bundle, case: ShownCase) -> None:
    if case.file is not None:
        measurement.read(bundle, case.file, case.truth)
