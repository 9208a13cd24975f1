"""A study as its record tells it: what the teacher gave in words, every seed, the gain against 0, what it cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from kdlight import runs
from kdlight.bundle.study_record import Model, Scores
from kdlight.studies import RecordError, StudyRecord, read
from kdlight.studies.gains import over_alone, over_same_start, with_baseline
from kdlight.studies.records import GridRecord, command_of, of_card, read_grid
from kdlight.ui import charts, shelf, theme, widgets, words
from kdlight.ui.markup import Markup, put, write

MAKES_ONE = "kdlight study RECIPE -o data.path=DATA --seeds 3"
STARTS = {"general": "general first", "published": "published weights first"}
"""Starting weights that set a study apart from the others of its pair, in words."""
MODELS: dict[Model, str] = {
    "teacher": "Teacher",
    "alone": "Student alone",
    "scratch": "Student from scratch",
    "same_start": "Student, same start",
    "student": "Student, taught",
    "partner": "Its partner",
    "ensemble": "Mean of both",
}
"""The models of a study; only some have a student from random weights, or a partner that learned beside the student."""
COSTED: tuple[Model, ...] = ("teacher", "alone", "scratch", "same_start", "student")
"""Those that are trained apart; a partner is trained with its student and is as large."""
DASH = "-"
"""Not recorded."""


def draw() -> None:
    """The whole view: a picker in the sidebar, then the chosen study."""
    theme.heading("Compare", "What a teacher gave its student: the same student taught and alone, seed by seed.")
    studies, broken = find()
    grids, torn = find_grids()
    for reason in (*broken, *torn):
        st.warning(words.plain(f"{reason} It is left out here."), icon=":material/error:")
    if not studies and not grids:
        st.info("No study is on this machine yet. This command makes one; its folder of runs is looked at here:")
        st.code(MAKES_ONE, language="sh")
        return
    with st.sidebar:
        named = [*studies, *(f"Ablation: {name}" for name in grids)]
        chosen = widgets.select("Study", "study", named, named[0])
    if chosen not in studies:
        _ablation(grids[chosen.removeprefix("Ablation: ")])
        return
    _study(studies[chosen])


def _study(record: StudyRecord) -> None:
    st.subheader(words.plain(f"{record.data.title or record.set_name}, {_method(record)}"), anchor=False)
    put(verdict(record))
    theme.line(rests_on(record))
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Every fold" if record.folds else "Every seed", anchor=False)
        seeds = [row.to_json() for row in record.seeds]
        chart = charts.paired(seeds, record.mean.teacher).properties(height=charts.HEIGHT)
        st.altair_chart(chart, alt="Balanced accuracy of the student alone and taught, a line each")
    with right:
        st.subheader("Difference against 0", anchor=False)
        rows = differences(record)
        if rows:
            st.altair_chart(charts.gains(rows).properties(height=charts.HEIGHT), alt="The gain and its interval")
        else:
            theme.line("Too few test images for an interval.")
    put(seeds_table(record))
    theme.line(words.ROUNDED)
    st.subheader("What it took", anchor=False)
    put(costs_table(record))
    theme.line("A dash was not recorded. The command that makes it again:")
    st.code(command_of(record), language="sh", wrap_lines=True)


def _ablation(record: GridRecord) -> None:
    """Every cell with its gain, then the difference of every two."""
    st.subheader(words.plain(f"{record.recipe}: {words.listed(record.keys)}"), anchor=False)
    seeds = len(record.cells[0].seeds)
    if seeds == 1:
        put(write('<div class="kd-verdict"><b>One seed proves nothing.</b> Run the grid with --seeds 3.</div>'))
    put(cells_table(record))
    st.subheader("Cell against cell", anchor=False)
    put(differences_table(record))
    each = f"{words.many(seeds, 'student seed')} in each cell, one teacher."
    theme.line(f"{each} {words.ROUNDED}")


def cells_table(record: GridRecord) -> Markup:
    """Balanced accuracy of each cell's models, mean over its seeds, and its gain in points."""
    heads = [theme.head(key) for key in record.keys]
    heads += [theme.head(MODELS[model], model) for model in ("teacher", "alone", "student")]
    heads += [theme.head("Over alone, points"), theme.head("Over the same starting weights")]
    rows = [
        [
            *(str(cell.values[key]) for key in record.keys),
            *(words.score(score) for score in (cell.mean.teacher, cell.mean.alone, cell.mean.student)),
            "one seed" if len(cell.seeds) == 1 else cell.gain,
            cell.over_same_start,
        ]
        for cell in record.cells
    ]
    return theme.table(heads, rows, row_heads=len(record.keys))


def differences_table(record: GridRecord) -> Markup:
    """Taught students of one cell less those of another, in points."""
    heads = [theme.head(text) for text in ("Taught students of", "less those of", "Points")]
    return theme.table(heads, [(row.first, row.second, row.words) for row in record.differences])


def find() -> tuple[dict[str, StudyRecord], list[str]]:
    """The studies among the runs and on the cards of bundles, by a name for people; and why others are left out."""
    named: dict[str, StudyRecord] = {}
    broken = []

    def add(record: StudyRecord, place: str, folder: str) -> None:
        name = _title(record) + (f" ({place})" if place else "")
        named[name if name not in named else f"{name}, {folder}"] = record

    for path in sorted(runs.default_root().glob("*/study.json")):
        try:
            add(read(path), "", path.parent.name)
        except (RecordError, FileNotFoundError) as error:
            broken.append(str(error))
    for bundle in shelf.all_bundles():
        if bundle.card.metrics.study is not None:
            add(of_card(bundle.card), "shipped" if shelf.is_shipped(bundle) else "library", bundle.path.name)
    return {name: with_baseline(record, named.values()) for name, record in named.items()}, broken


def find_grids() -> tuple[dict[str, GridRecord], list[str]]:
    """The ablations among the runs, by a name for people; and why others are left out."""
    named: dict[str, GridRecord] = {}
    broken = []
    for path in sorted(runs.default_root().glob("*/grid.json")):
        try:
            record = read_grid(path)
        except (RecordError, FileNotFoundError) as error:
            broken.append(str(error))
            continue
        name = f"{record.recipe} · {words.listed(record.keys)}"
        named[name if name not in named else f"{name}, {path.parent.name}"] = record
    return named, broken


def verdict(record: StudyRecord) -> Markup:
    """The result in words, before any number."""
    gain = over_alone(record)
    if len(record.seeds) == 1:
        opening = "One seed proves nothing."
        more = f"It says {gain}; another seed may say otherwise. Run it with --seeds 3."
    else:
        opening = f"{gain[:1].upper()}{gain[1:]}."
        chance = "of teacher and student" if record.folds else "of the students, not in that of the one teacher"
        more = (
            f"The first figure is over the student alone. Intervals hold chance in the test images and in the training "
            f"{chance}."
        )
    same_start = over_same_start(record)
    kind = "kd-verdict differ" if same_start.proven else "kd-verdict"
    return write(
        '<div class="{}"><b>{}</b> {}</div><div class="kd-line">{}</div>', kind, opening, same_start.sentence, more
    )


def rests_on(record: StudyRecord) -> str:
    """How much of the teacher is kept, how sure a second test is, and on how much all of it rests."""
    mean, seeds, start = record.mean, len(record.seeds), record.models.teacher_start
    share = DASH if record.retained is None else words.score(record.retained)
    tested = f", {record.tested:,} test images" if record.tested else ""
    trained = (
        f"{seeds} folds, a teacher in each" if record.folds else f"{words.many(seeds, 'student seed')}, one teacher"
    )
    return " ".join(
        [
            f"The student has {share} of its teacher's balanced accuracy ({words.score(mean.student)} of "
            f"{words.score(mean.teacher)}).",
            *_mcnemar(record),
            *(["The teacher started from random weights."] if start and start.kind == "random" else []),
            f"{trained}{tested}.",
        ]
    )


def _mcnemar(record: StudyRecord) -> list[str]:
    """The exact test and what it takes for granted; nothing where it was not recorded."""
    test = record.mcnemar
    if test is None:
        return []
    over = ""
    if len(record.seeds) > 1 and not record.folds:
        pooled = "pooled over seeds that answered the same images: too sure, the interval decides"
        over = f", {pooled if test.pooled else 'first seed'}"
    return [f"Exact McNemar test of taught against alone: p {words.p_value(test.p)}{over}."]


def differences(record: StudyRecord) -> list[dict[str, Any]]:
    """The gain over the student alone and the gap to the teacher, in points."""
    rows = []
    for name, gain in (
        ("taught minus alone", record.over("alone")),
        ("taught minus same start", record.over("same_start")),
        ("partner minus alone", record.over("alone", "partner")),
        ("mean of both minus alone", record.over("alone", "ensemble")),
        ("taught minus teacher", record.over("teacher")),
    ):
        if gain is not None and gain.low is not None:
            rows.append({"name": name, **gain.points.to_json(), "words": f"{gain.points:+.1f}"})
    return rows


def seeds_table(record: StudyRecord) -> Markup:
    """Balanced accuracy of each seed, its mean, how far the seeds lie apart; the difference in points."""
    number = "Fold" if record.folds else "Seed"
    rows: list[tuple[str, Scores]] = [(f"{number} {row.seed}", row) for row in record.seeds]
    rows += [("Mean", record.mean)] if len(rows) > 1 else []
    present = _present(record, [*MODELS])
    body = [
        [name, *(words.score(row.by_model[model]) for model in present), f"{100 * (row.student - row.alone):+.1f}"]
        for name, row in rows
    ]
    corner = theme.head(write("<small>balanced accuracy</small>"))
    return theme.table([corner, *_heads(present), theme.head("Taught minus alone, points")], body)


def costs_table(record: StudyRecord) -> Markup:
    """What each model is and took; a dash where the record does not say it. The students are one network."""
    models = _present(record, COSTED)
    networks = [record.models.teacher if model == "teacher" else record.models.student for model in models]
    timed = record.latency
    ms = [None if timed is None else timed.teacher if model == "teacher" else timed.student for model in models]
    rows: dict[str, tuple[Sequence[Any], Callable[[Any], str]]] = {
        "Architecture": ([network.architecture for network in networks], words.architecture),
        "Parameters": ([network.parameters for network in networks], words.millions),
        "Size on disk": ([network.bytes for network in networks], words.megabytes),
        "Time per image": (ms, lambda ms: f"{words.number(ms)} ms"),
        "Epochs": ([record.epochs.get(model) for model in models], str),
        "Training": ([record.minutes.get(model) for model in models], lambda m: words.duration(60 * m)),
    }
    body = [
        [title, *(DASH if value is None else to_words(value) for value in values)]
        for title, (values, to_words) in rows.items()
    ]
    return theme.table([theme.head(), *_heads(models)], body)


def _present(record: StudyRecord, among: Sequence[Model]) -> list[Model]:
    return [model for model in among if model in record.mean.by_model]


def _heads(models: Sequence[Model]) -> list[Markup]:
    return [theme.head(MODELS[model], model) for model in models]


def _method(record: StudyRecord) -> str:
    """Whom it was taught by, how, and at which size."""
    options = ", ".join(f"{key} {value}" for key, value in record.method.options.items())
    networks = (record.models.teacher.architecture, record.models.student.architecture)
    parts = [
        " to ".join(words.architecture(name) for name in networks if name),
        f"{record.method.name}{f' ({options})' if options else ''}" if record.method.name else "",
        STARTS.get(record.init or "", ""),
        f"{record.data.size} px" if record.data.size else "",
    ]
    return ", ".join(filter(None, parts))


def _title(record: StudyRecord) -> str:
    """The set and the method, short enough for the picker."""
    start = STARTS.get(record.init or "")
    return " · ".join(filter(None, [record.data.title or record.set_name, record.method.name, start]))
