"""A study as its record tells it: what the teacher gave in words, every seed, the gain against 0, what it cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from kdlight import bundle as bundles
from kdlight import runs
from kdlight.metrics import Interval
from kdlight.reading import ROLES
from kdlight.results import Record, RecordError, over_alone, read, same_start
from kdlight.results.command import of as command_of
from kdlight.results.rows import STARTS
from kdlight.ui import charts, comparison, grid_view, kept, theme, words

MAKES_ONE = "kdlight study RECIPE -o data.path=DATA --seeds 3"
MODELS = {
    "teacher": "Teacher",
    "alone": "Student alone",
    "scratch": "Student from scratch",
    "same_start": "Student, same start",
    "student": "Student, taught",
    "partner": "Its partner",
    "ensemble": "Mean of both",
}
"""The models of a study; only some have a student from random weights, or a partner that learned beside the student."""
COSTED = ("teacher", "alone", "scratch", "same_start", "student")
"""Those that are trained apart; a partner is trained with its student and is as large."""
DASH = "-"
"""Not recorded."""


def draw() -> None:
    """The whole view: a picker in the sidebar, then the chosen study."""
    theme.heading("Compare", "What a teacher gave its student: the same student taught and alone, seed by seed.")
    studies, broken = find()
    grids, torn = grid_view.find(runs.default_root())
    for reason in (*broken, *torn):
        st.warning(words.plain(f"{reason} It is left out here."), icon=":material/error:")
    if not studies and not grids:
        st.info("No study is on this machine yet. This command makes one; its folder of runs is looked at here:")
        st.code(MAKES_ONE, language="sh")
        return
    with st.sidebar:
        named = [*studies, *(f"Ablation: {name}" for name in grids)]
        chosen = kept.select("Study", named, "study", named[0])
    if chosen not in studies:
        grid_view.draw(grids[chosen.removeprefix("Ablation: ")])
        return
    _study(studies[chosen])


def _study(record: Record) -> None:
    st.subheader(words.plain(f"{record.fact('title') or record.data}, {_method(record)}"), anchor=False)
    st.html(verdict(record))
    st.html(f'<div class="kd-line">{rests_on(record)}</div>')
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Every seed", anchor=False)
        chart = charts.paired(record.seeds, record.mean["teacher"]).properties(height=charts.HEIGHT)
        st.altair_chart(chart, alt="Balanced accuracy of the student alone and taught, a line per seed")
    with right:
        st.subheader("Difference against 0", anchor=False)
        rows = differences(record)
        if rows:
            st.altair_chart(charts.gains(rows).properties(height=charts.HEIGHT), alt="The gain and its interval")
        else:
            st.html('<div class="kd-line">Too few test images for an interval.</div>')
    st.html(seeds_table(record))
    st.html(f'<div class="kd-line">{words.ROUNDED}</div>')
    st.subheader("What it took", anchor=False)
    st.html(costs_table(record))
    st.html('<div class="kd-line">A dash was not recorded. The command that makes it again:</div>')
    st.code(command_of(record), language="sh", wrap_lines=True)


def find() -> tuple[dict[str, Record], list[str]]:
    """The studies among the runs and on the cards of bundles, by a name for people; and why others are left out."""
    files = sorted(runs.default_root().glob("*/study.json"))
    places = [(path, "run") for path in files] + [(path / "card.json", _place(path)) for path in bundles.find()]
    found: dict[str, Record] = {}
    broken = []
    for path, place in places:
        try:
            if place != "run" and "study" not in json.loads(path.read_bytes()).get("metrics", {}):
                continue
            record = read(path)
        except RecordError as error:
            broken.append(str(error))
            continue
        except (OSError, ValueError, AttributeError):
            continue  # a card that cannot be read is named in the Library
        name = f"{_title(record)}{'' if place == 'run' else f' ({place})'}"
        found[name if name not in found else f"{name}, {path.parent.name}"] = record
    return {name: same_start.filled(record, found.values()) for name, record in found.items()}, broken


def verdict(record: Record) -> str:
    """What was found, in words before any number."""
    told = over_alone.in_points(record.gain)
    if len(record.seeds) == 1:
        said = "One seed proves nothing."
        more = f"It says {words.safe(told)}; another seed may say otherwise. Run it with --seeds 3."
    else:
        said = f"{words.safe(told[:1].upper() + told[1:])}."
        more = (
            "The first figure is over the student alone; its interval holds chance in the test images, not in training."
        )
    kind = "kd-verdict differ" if same_start.proven(record) else "kd-verdict"
    beside = words.safe(same_start.sentence(same_start.words(record)))
    return f'<div class="{kind}"><b>{said}</b> {beside}</div><div class="kd-line">{more}</div>'


def rests_on(record: Record) -> str:
    """How much of the teacher is kept, how sure a second test is, and on how much all of it rests."""
    student, teacher = record.mean["student"], record.mean["teacher"]
    share = words.score(student / teacher) if teacher else DASH
    seeds, images = len(record.seeds), record.fact("images")
    tested = f", {images:,} test images" if images else ""
    return " ".join(
        [
            f"The student has {share} of its teacher's balanced accuracy ({words.score(student)} of "
            f"{words.score(teacher)}).",
            *_mcnemar(record),
            *(["The teacher started from random weights."] if record.fact("start_kind") == "random" else []),
            f"{seeds} student seed{'s' if seeds > 1 else ''}, one teacher{tested}.",
        ]
    )


def _mcnemar(record: Record) -> list[str]:
    """The exact test and what it takes for granted; nothing where it was not recorded."""
    pooled, first = record.fact("mcnemar_pooled_p"), record.fact("mcnemar_p")
    if pooled is None and first is None:
        return []
    said = f"Exact McNemar test of taught against alone: p {words.p_value(first if pooled is None else pooled)}"
    if len(record.seeds) > 1:
        over = "pooled over seeds that answered the same images: too sure, the interval decides"
        said += f", {'first seed' if pooled is None else over}"
    return [f"{said}."]


def differences(record: Record) -> list[dict[str, Any]]:
    """The gain over the student alone and the gap to the teacher, in points."""
    rows = []
    for name, found in (
        ("taught minus alone", record.gain),
        ("taught minus same start", record.gains.get(same_start.GAIN)),
        ("partner minus alone", record.gains.get("gain_of_partner")),
        ("mean of both minus alone", record.gains.get("gain_of_ensemble")),
        ("taught minus teacher", record.gains.get("gap_to_teacher")),
    ):
        interval = Interval.of(found)
        if interval is not None and interval.low is not None:
            rows.append({"name": name, **interval.points.to_json(), "words": f"{interval.points:+.1f}"})
    return rows


def seeds_table(record: Record) -> str:
    """Balanced accuracy of each seed, its mean, how far the seeds lie apart; the difference in points."""
    rows = [(f"Seed {row['seed']:g}", row) for row in record.seeds]
    rows += [("Mean", record.mean)] if len(rows) > 1 else []
    present = _present(record, [*MODELS])
    body = "".join(
        f'<tr><th scope="row">{name}</th>{"".join(f"<td>{words.score(row[role])}</td>" for role in present)}'
        f"<td>{100 * (row['student'] - row['alone']):+.1f}</td></tr>"
        for name, row in rows
    )
    head = f"<th><small>balanced accuracy</small></th>{_head(record, [*MODELS])}<th>Taught minus alone, points</th>"
    return comparison.grid("kd-table", head, body)


def costs_table(record: Record) -> str:
    """What each model is and took; a dash where the record does not say it."""
    forms: dict[str, tuple[str, Callable[[Any], str]]] = {
        "architecture": ("Architecture", words.architecture),
        "parameters": ("Parameters", words.millions),
        "bytes": ("Size on disk", words.megabytes),
        "latency": ("Time per image", lambda ms: f"{words.number(ms)} ms"),
        "epochs": ("Epochs", lambda n: f"{n:g}"),
        "minutes": ("Training", lambda m: words.duration(60 * m)),
    }
    same = ("architecture", "parameters", "bytes", "latency")  # the students are one network
    body = ""
    for name, (title, form) in forms.items():
        roles = ["student" if role != "teacher" and name in same else role for role in _present(record, COSTED)]
        values = [record.fact(name, role) for role in roles]
        cells = "".join(f"<td>{DASH if value is None else words.safe(form(value))}</td>" for value in values)
        body += f'<tr><th scope="row">{title}</th>{cells}</tr>'
    return comparison.grid("kd-table", f"<th></th>{_head(record, COSTED)}", body)


def _present(record: Record, among: Sequence[str]) -> list[str]:
    return [role for role in among if role in record.mean]


def _head(record: Record, among: Sequence[str]) -> str:
    return "".join(
        f'<th class="{role if role in ROLES else ""}" scope="col">{MODELS[role]}</th>'
        for role in _present(record, among)
    )


def _method(record: Record) -> str:
    """Whom it was taught by, how, and at which size."""
    options: Mapping[str, Any] = record.fact("options") or {}
    said = ", ".join(f"{key} {value}" for key, value in options.items())
    models = [words.architecture(name) for name in (record.teacher, record.student) if name]
    parts = [
        " to ".join(models),
        f"{record.fact('method')}{f' ({said})' if said else ''}" if record.fact("method") else "",
        STARTS.get(str(record.fact("init")), ""),
        f"{record.fact('size')} px" if record.fact("size") else "",
    ]
    return ", ".join(filter(None, parts))


def _title(record: Record) -> str:
    """The set and the method, short enough for the picker."""
    start = STARTS.get(str(record.fact("init")))
    return " · ".join(filter(None, [record.fact("title") or record.data, record.fact("method"), start]))


def _place(path: Any) -> str:
    return "shipped" if bundles.is_shipped(path) else "library"
