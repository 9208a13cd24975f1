"""The charts, all of them Altair: axis titles with units, names beside the lines, the two colors everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import altair as alt
import pandas as pd  # type: ignore[import-untyped, unused-ignore]

from kdlight.contracts.reading import Role
from kdlight.metrics import FlipCounts
from kdlight.ui import theme
from kdlight.workers.requests import Curves

Chart = Any
"""An Altair chart, plain or layered; its operators are typed as Any."""
HEIGHT = 320
MOST_NAMED = 5
"""More seeds than this are told apart by pointing at them."""
SERIES: dict[str, tuple[str, list[int], str]] = {
    "teacher": ("teacher", [1, 0], "square"),
    "student": ("student", [6, 3], "circle"),
    "student alone": ("alone", [2, 3], "diamond"),
    "student from scratch": ("alone", [8, 3, 2, 3], "diamond"),
    "student, same start": ("alone", [6, 2], "diamond"),
}
"""A model's name beside its mark -> color, dashes and shape."""


def by_model(channel: Any, present: Iterable[str]) -> Any:
    """alt.Color, alt.StrokeDash or alt.Shape of the field `role`, the same in every chart; without a legend."""
    names = [name for name in SERIES if name in set(present)]
    if channel is alt.Color:
        values: list[Any] = [theme.color(SERIES[name][0]) for name in names]
    else:
        values = [SERIES[name][1 if channel is alt.StrokeDash else 2] for name in names]
    return channel("role:N", scale=alt.Scale(domain=names, range=values), legend=None)


def roc(curves: Mapping[Role, Curves], name: str) -> Chart:
    """One class against the rest, both models."""
    rows = [
        {"role": role, "false": x, "true": y}
        for role, of_role in curves.items()
        for x, y in zip(of_role.roc[name].false, of_role.roc[name].true, strict=True)
    ]
    lines = _unit_square(rows, curves, ("false", "false positive rate"), ("true", "true positive rate"))
    drawn = lines.mark_line(strokeWidth=2).encode(
        order="false:Q",
        strokeDash=by_model(alt.StrokeDash, curves),
        tooltip=["role", _rounded("false"), _rounded("true")],
    )
    return _diagonal() + drawn + _names([(role, 0.98, 0.14 - 0.09 * i) for i, role in enumerate(curves)], "right")


def reliability(curves: Mapping[Role, Curves]) -> Chart:
    """Confidence against the share that was right; the diagonal is perfect calibration, area the number of images."""
    rows = [
        {"role": role, "confidence": c, "accuracy": a, "images": n}
        for role, line in ((role, of_role.reliability) for role, of_role in curves.items())
        for c, a, n in zip(line.confidence, line.accuracy, line.count, strict=True)
    ]
    base = _unit_square(rows, curves, ("confidence", "stated probability"), ("accuracy", "share that was right"))
    points = base.mark_point(filled=True, opacity=0.9).encode(
        size=alt.Size("images:Q", legend=None, scale=alt.Scale(range=[30, 300])),
        shape=by_model(alt.Shape, curves),
        tooltip=["role", "images", _rounded("confidence"), _rounded("accuracy")],
    )
    lines = base.mark_line(strokeWidth=1.5).encode(strokeDash=by_model(alt.StrokeDash, curves))
    return _diagonal() + lines + points + _names([(r, 0.02, 0.98 - 0.09 * i) for i, r in enumerate(curves)], "left")


def trade(rows: Sequence[Mapping[str, Any]]) -> Chart:
    """Accuracy against time per image, the area of a mark its size on disk. rows: role, accuracy, low, high, ms, mb."""
    present = [row["role"] for row in rows]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("ms:Q", title="time per image, ms", scale=alt.Scale(type="log", padding=40), axis=alt.Axis(grid=False)),
        y=alt.Y("accuracy:Q", title="balanced accuracy", scale=alt.Scale(zero=False, padding=20)),
        color=by_model(alt.Color, present),
    )
    bars = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q", title="balanced accuracy"), y2="high:Q")
    points = base.mark_point(filled=True, opacity=1).encode(
        size=alt.Size("mb:Q", legend=None, scale=alt.Scale(range=[60, 700])),
        shape=by_model(alt.Shape, present),
        tooltip=["role", _rounded("accuracy"), _rounded("ms", ".3g"), _rounded("mb", ".3g")],
    )
    names = base.mark_text(align="left", dx=18, dy=-10, fontSize=13).encode(text="words:N")
    return bars + points + names


def paired(seeds: Sequence[Mapping[str, float]], teacher: float) -> Chart:
    """Per seed a line from the student alone to the student taught; the teacher's mean lies across. Scores 0 to 1."""
    places = {"alone": ("student alone", "student alone"), "student": ("student", "student, taught")}
    rows = [
        {"role": role, "x": place, "score": row[key], "seed": row["seed"]}
        for row in seeds
        for key, (role, place) in places.items()
    ]
    order = [place for _, place in places.values()]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("x:N", title=None, sort=order, scale=alt.Scale(padding=0.4), axis=alt.Axis(labelAngle=0, grid=False)),
        y=alt.Y("score:Q", title="balanced accuracy", scale=alt.Scale(zero=False, padding=24)),
        tooltip=["seed", "role", _rounded("score")],
    )
    lines = base.mark_line(strokeWidth=1.5, color=theme.color("alone")).encode(detail="seed:N")
    present = ("student alone", "student")
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        color=by_model(alt.Color, present), shape=by_model(alt.Shape, present)
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


FLOWS = {
    "both right": ("line", 0, 0),
    "lost": ("teacher", 0, 1),
    "gained": ("student", 1, 0),
    "both wrong": ("alone", 1, 1),
}
"""A flow of images -> its color, and whether they are wrong before and after."""
NAMED_AT = {"both right": 10, "lost": 3, "gained": 17, "both wrong": 10}
"""The step of 20 at which a flow has its name: apart from those that cross it."""
NAMED_FROM = 0.1
"""Share of a class below which what stays as it was has no name: the text would lie on the flows beside it."""


def flow(classes: Mapping[str, FlipCounts], before: str, after: str) -> Chart:
    """By class, how many images stay right or wrong and how many cross over; right ones lie on top."""
    rows = [row for name, counts in classes.items() for row in _ribbons(name, counts)]
    x = alt.X(
        "t:Q",
        title=None,
        axis=alt.Axis(values=[0, 1], labelExpr=f"datum.value ? '{after}' : '{before}'", labelBound=True, grid=False),
    )
    colors = [theme.color(color) for color, _, _ in FLOWS.values()]
    areas = (
        alt.Chart()
        .mark_area(opacity=0.85)
        .encode(
            x=x,
            y=alt.Y("low:Q", title=None, axis=None, scale=alt.Scale(reverse=True)),
            y2="high:Q",
            color=alt.Color("flow:N", scale=alt.Scale(domain=[*FLOWS], range=colors), legend=None),
            tooltip=["flow", "images"],
        )
    )
    words = (
        alt.Chart()
        .mark_text(fontSize=12, color=theme.color("text"))
        .encode(x=x, y="middle:Q", text="words:N")
        .transform_filter("datum.words != ''")
    )
    head = alt.Header(title=None, labelFontSize=13, labelLimit=200)
    drawn = alt.layer(areas, words, data=pd.DataFrame(rows)).properties(width=200, height=130)
    return drawn.facet(alt.Facet("class:N", header=head, sort=[*classes]), columns=3).resolve_scale(y="independent")


def _ribbons(name: str, counts: FlipCounts) -> Iterable[Mapping[str, Any]]:
    """The outline of every flow of a class as it crosses from left (t = 0) to right (t = 1), in images from the top."""
    sizes = {
        "both right": counts.both_right,
        "lost": counts.first_only,
        "gained": counts.second_only,
        "both wrong": counts.both_wrong_alike + counts.both_wrong_apart,
    }
    total = sum(sizes.values())
    gap = 0.06 * total
    for kind, size in sizes.items():
        if size:
            named = kind in ("lost", "gained") or size >= NAMED_FROM * total
            left, right = (_top(sizes, kind, side, gap) for side in (0, 1))
            for step in range(21):
                t = step / 20
                low = left + (right - left) * t * t * (3 - 2 * t)
                words = f"{size} {kind}" if named and step == NAMED_AT[kind] else ""
                yield {
                    "class": name,
                    "flow": kind,
                    "images": size,
                    "t": t,
                    "low": low,
                    "high": low + size,
                    "middle": low + size / 2,
                    "words": words,
                }


def _top(sizes: Mapping[str, int], kind: str, side: int, gap: float) -> float:
    """Where a flow begins on the left (0) or right (1): below the right ones, then those of the order of FLOWS."""
    wrong = {name: places[side] for name, (_, *places) in FLOWS.items()}
    names = [name for name in FLOWS if (wrong[name], [*FLOWS].index(name)) < (wrong[kind], [*FLOWS].index(kind))]
    return sum(sizes[name] for name in names) + gap * wrong[kind]


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
    rows = []
    for group in groups:
        numbers = ", ".join(f"{n:g}" for n in sorted(row["seed"] for row in group))
        score = sum(row["student"] for row in group) / len(group)
        rows.append({"x": "student, taught", "score": score, "words": f"seed{'s' * (len(group) > 1)} {numbers}"})
    mark = alt.Chart(pd.DataFrame(rows)).mark_text(align="left", dx=12, fontSize=12, color=theme.color("alone"))
    return mark.encode(x="x:N", y="score:Q", text="words:N")


def _unit_square(
    rows: Sequence[Mapping[str, Any]], present: Iterable[str], x: tuple[str, str], y: tuple[str, str]
) -> Chart:
    """Both axes from 0 to 1, each by its field and title."""
    whole = alt.Scale(domain=[0, 1])
    return alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X(f"{x[0]}:Q", title=x[1], scale=whole),
        y=alt.Y(f"{y[0]}:Q", title=y[1], scale=whole),
        color=by_model(alt.Color, present),
    )


def _rounded(field: str, form: str = ".2f") -> alt.Tooltip:
    return alt.Tooltip(field, format=form)


def _diagonal() -> Chart:
    frame = pd.DataFrame({"x": [0, 1], "y": [0, 1]})
    return alt.Chart(frame).mark_line(color=theme.color("line"), strokeDash=[4, 4]).encode(x="x:Q", y="y:Q")


def _names(places: Sequence[tuple[str, float, float]], align: Literal["left", "right"]) -> Chart:
    mark = alt.Chart(pd.DataFrame(places, columns=["role", "x", "y"])).mark_text(
        align=align, baseline="middle", fontSize=13
    )
    return mark.encode(x="x:Q", y="y:Q", text="role:N", color=by_model(alt.Color, [role for role, _, _ in places]))
