"""The charts, all of them Altair: axis titles with units, names beside the lines, the two colors everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt
import pandas as pd  # type: ignore[import-untyped, unused-ignore]

from kdlight.reading import Role
from kdlight.ui import theme
from kdlight.workers.requests import Curves

Chart = Any
"""An Altair chart, plain or layered; its operators are typed as Any."""
HEIGHT = 320
MOST_NAMED = 5
"""More seeds than this are told apart by pointing at them."""
SHAPES = {"teacher": "square", "student": "circle", "student alone": "diamond"}


def roles(present: Sequence[str]) -> alt.Color:
    """Teacher blue, student amber, everything else neutral; named beside the line, so without a legend."""
    known = _ordered(present)
    colors = [theme.color("alone" if role == "student alone" else role) for role in known]
    return alt.Color("role:N", scale=alt.Scale(domain=known, range=colors), legend=None)


def roc(curves: Mapping[Role, Curves], name: str) -> Chart:
    """One class against the rest, both models."""
    rows = [
        {"role": role, "false": x, "true": y}
        for role, of_role in curves.items()
        for x, y in zip(of_role.roc[name].false, of_role.roc[name].true, strict=True)
    ]
    frame = pd.DataFrame(rows)
    lines = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("false:Q", title="false positive rate", scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("true:Q", title="true positive rate", scale=alt.Scale(domain=[0, 1])),
            color=roles(list(curves)),
            order="false:Q",
            strokeDash=_dashes(list(curves)),
            tooltip=["role", alt.Tooltip("false", format=".2f"), alt.Tooltip("true", format=".2f")],
        )
    )
    return _diagonal() + lines + _names([(role, 0.98, 0.14 - 0.09 * i) for i, role in enumerate(curves)], "end")


def reliability(curves: Mapping[Role, Curves]) -> Chart:
    """Confidence against the share that was right; the diagonal is perfect calibration, area the number of images."""
    rows = [
        {"role": role, "confidence": c, "accuracy": a, "images": n}
        for role, line in ((role, of_role.reliability) for role, of_role in curves.items())
        for c, a, n in zip(line.confidence, line.accuracy, line.count, strict=True)
    ]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("confidence:Q", title="stated probability", scale=alt.Scale(domain=[0, 1])),
        y=alt.Y("accuracy:Q", title="share that was right", scale=alt.Scale(domain=[0, 1])),
        color=roles(list(curves)),
    )
    points = base.mark_point(filled=True, opacity=0.9).encode(
        size=alt.Size("images:Q", legend=None, scale=alt.Scale(range=[30, 300])),
        shape=_shapes(list(curves)),
        tooltip=["role", "images", alt.Tooltip("confidence", format=".2f"), alt.Tooltip("accuracy", format=".2f")],
    )
    lines = base.mark_line(strokeWidth=1.5).encode(strokeDash=_dashes(list(curves)))
    return _diagonal() + lines + points + _names([(r, 0.02, 0.98 - 0.09 * i) for i, r in enumerate(curves)], "start")


def trade(rows: Sequence[Mapping[str, Any]]) -> Chart:
    """Accuracy against time per image, the area of a mark its size on disk. rows: role, accuracy, low, high, ms, mb."""
    frame = pd.DataFrame(rows)
    base = alt.Chart(frame).encode(
        x=alt.X("ms:Q", title="time per image, ms", scale=alt.Scale(type="log", padding=40), axis=alt.Axis(grid=False)),
        y=alt.Y("accuracy:Q", title="balanced accuracy", scale=alt.Scale(zero=False, padding=20)),
        color=roles([row["role"] for row in rows]),
    )
    bars = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q", title="balanced accuracy"), y2="high:Q")
    points = base.mark_point(filled=True, opacity=1).encode(
        size=alt.Size("mb:Q", legend=None, scale=alt.Scale(range=[60, 700])),
        shape=_shapes([row["role"] for row in rows]),
        tooltip=[
            "role",
            alt.Tooltip("accuracy", format=".2f"),
            alt.Tooltip("ms", format=".3g"),
            alt.Tooltip("mb", format=".3g"),
        ],
    )
    names = base.mark_text(align="left", dx=18, dy=-10, fontSize=13).encode(text="words:N")
    return bars + points + names


def paired(seeds: Sequence[Mapping[str, float]], teacher: float) -> Chart:
    """Per seed a line from the student alone to the student taught; the teacher's mean lies across. Scores 0 to 1."""
    names = {"alone": "student alone", "student": "student"}
    rows = [
        {"role": role, "x": f"{role}, taught" if key == "student" else role, "score": row[key], "seed": row["seed"]}
        for row in seeds
        for key, role in names.items()
    ]
    order = ["student alone", "student, taught"]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("x:N", title=None, sort=order, scale=alt.Scale(padding=0.4), axis=alt.Axis(labelAngle=0, grid=False)),
        y=alt.Y("score:Q", title="balanced accuracy", scale=alt.Scale(zero=False, padding=24)),
        tooltip=["seed", "role", alt.Tooltip("score", format=".2f")],
    )
    lines = base.mark_line(strokeWidth=1.5, color=theme.color("alone")).encode(detail="seed:N")
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        color=roles(list(names.values())), shape=_shapes(list(names.values()))
    )
    drawn = _level(teacher, f"teacher {teacher:.2f}") + lines + points
    return drawn + _seeds(seeds) if len(seeds) <= MOST_NAMED else drawn


def gains(rows: Sequence[Mapping[str, Any]]) -> Chart:
    """Differences of the student against 0, in points, with their intervals. rows: name, value, low, high, words."""
    frame = pd.DataFrame([{**row, "label": f"{row['name']}|{row['words']}"} for row in rows])
    ends = [0.0, *(row["low"] for row in rows), *(row["high"] for row in rows)]
    room = 0.12 * (max(ends) - min(ends) or 1.0)
    base = alt.Chart(frame).encode(
        y=alt.Y(
            "label:N",
            title=None,
            sort=None,
            axis=alt.Axis(
                labelExpr="split(datum.label, '|')",
                labelLimit=240,
                labelFontSize=13,
                labelLineHeight=18,
                labelOffset=-9,
                grid=False,
            ),
        ),
        x=alt.X(
            "value:Q",
            title="points of balanced accuracy",
            scale=alt.Scale(domain=[min(ends) - room, max(ends) + room], nice=False),
            axis=alt.Axis(tickCount=5),
        ),
        tooltip=["name", "words"],
    )
    color = theme.color("student")
    bars = base.mark_rule(strokeWidth=3, color=color).encode(x="low:Q", x2="high:Q")
    points = base.mark_point(filled=True, size=130, opacity=1, color=color)
    zero = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(color=theme.color("text"), strokeWidth=1).encode(x="x:Q")
    return zero + bars + points


def _level(score: float, words: str) -> Chart:
    """A line across the whole chart with its name above its left end."""
    base = alt.Chart(pd.DataFrame({"y": [score], "words": [words]})).encode(y="y:Q")
    line = base.mark_rule(strokeWidth=2, color=theme.color("teacher"))
    name = base.mark_text(align="left", dx=8, dy=-9, fontSize=13, color=theme.color("teacher")).encode(
        x=alt.value(0), text="words:N"
    )
    return line + name


def _seeds(seeds: Sequence[Mapping[str, float]]) -> Chart:
    """The number of each seed, beside the end of its line; seeds that end close together share one name."""
    scores = [row[key] for row in seeds for key in ("alone", "student")]
    close = 0.08 * (max(scores) - min(scores))
    groups: list[list[Mapping[str, float]]] = []
    for row in sorted(seeds, key=lambda r: r["student"]):
        if groups and row["student"] - groups[-1][-1]["student"] < close:
            groups[-1].append(row)
        else:
            groups.append([row])
    rows = [
        {
            "x": "student, taught",
            "score": sum(row["student"] for row in group) / len(group),
            "words": f"seed{'s' if len(group) > 1 else ''} "
            + ", ".join(f"{n:g}" for n in sorted(r["seed"] for r in group)),
        }
        for group in groups
    ]
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_text(align="left", dx=12, fontSize=12, color=theme.color("alone"))
        .encode(x="x:N", y="score:Q", text="words:N")
    )


def _ordered(present: Sequence[str]) -> list[str]:
    return [role for role in SHAPES if role in present]


def _diagonal() -> Chart:
    frame = pd.DataFrame({"x": [0, 1], "y": [0, 1]})
    return alt.Chart(frame).mark_line(color=theme.color("line"), strokeDash=[4, 4]).encode(x="x:Q", y="y:Q")


def _names(places: Sequence[tuple[str, float, float]], side: Literal["start", "end"]) -> Chart:
    frame = pd.DataFrame(places, columns=["role", "x", "y"])
    align: Literal["left", "right"] = "right" if side == "end" else "left"
    return (
        alt.Chart(frame)
        .mark_text(align=align, baseline="middle", fontSize=13)
        .encode(x="x:Q", y="y:Q", text="role:N", color=roles([p[0] for p in places]))
    )


def _dashes(present: Sequence[str]) -> alt.StrokeDash:
    known = {"teacher": [1, 0], "student": [6, 3], "student alone": [2, 3]}
    return alt.StrokeDash(
        "role:N", scale=alt.Scale(domain=_ordered(present), range=[known[r] for r in _ordered(present)]), legend=None
    )


def _shapes(present: Sequence[str]) -> alt.Shape:
    domain = _ordered(present)
    return alt.Shape("role:N", scale=alt.Scale(domain=domain, range=[SHAPES[r] for r in domain]), legend=None)
