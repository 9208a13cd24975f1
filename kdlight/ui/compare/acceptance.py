"""Acceptance: a person's own labeled cases against the bar that they set, and later cases against the same bar."""

from __future__ import annotations

from functools import partial

import streamlit as st

from kdlight.bundle import Bundle
from kdlight.contracts.bar import ALL, Bar
from kdlight.reports.acceptance import VERDICTS, document
from kdlight.trust.acceptance import default_bar
from kdlight.trust.monitoring import Result, ResultError, read_result
from kdlight.ui import documents, places, shelf, theme, waiting, widgets, words
from kdlight.ui.markup import put, write
from kdlight.workers.requests import Accept

MODELS = {"student": "the student", "teacher": "the teacher", "both": "both"}
RULES = {"answer": "it is the answer", "possible": "it is the answer or not ruled out"}
WHAT = {
    "coverage": "Prediction sets that hold the truth, at least",
    "answered": "Cases that are read and not withheld, at least",
    "calibration": "Gap between stated and true share of right answers, at most",
    "difference": "Share of right answers that the student lost, net, at most",
}


def draw() -> None:
    """The whole view: the verdict first, once there is one, then the bar."""
    with st.sidebar:
        bundle = shelf.pick()
        data = places.field(
            "Your labeled cases on this machine",
            "acceptance folder",
            placeholder="/path/to/folder, .npz or .csv",
            help="<class>/<file>, with a manifest.csv where several images are of one patient. Cases from the place "
            "where the pair is to be used, that had no part in making it.",
        )
        since = _record()
    theme.heading("Acceptance", "Does this pair clear your bar on your own cases, and does it still?")
    if bundle is None:
        return
    above = st.container()
    bar = since.bar if since else _bar(bundle)
    if st.button("Count later cases" if since else "Hold against the bar", type="primary", disabled=not data):
        waiting.begin(_job(bundle), Accept(bundle.path, str(data), None if since else bar, since))
    if not data:
        theme.line("Name the folder of your cases on the left.")
    with above:
        found = waiting.result(_job(bundle))
        if found is not None:
            _result(bundle, found)


def _job(bundle: Bundle) -> str:
    return f"accept {bundle.sha256}"


def _record() -> Result | None:
    """The record that a person goes on from; a damaged one is said."""
    dropped = st.file_uploader(
        "A record from before (optional)",
        type="json",
        help="The record of an acceptance, or of the last look. Cases that it counted are not counted again; a stop "
        "rule says whether to stop using the pair.",
    )
    if dropped is None:
        return None
    try:
        return read_result(dropped.getvalue())
    except ResultError as error:
        st.error(words.plain(error), icon=":material/error:")
        return None


def _bar(bundle: Bundle) -> Bar:
    """The bar as controls: classes that must not be missed first, the rest one click away."""
    first = default_bar(bundle.card)
    key = f"bar {bundle.card.id}"
    st.subheader("Your bar", anchor=False)
    chosen = [name for name in bundle.classes if name in first.sensitivity]
    more = [name for name in bundle.classes if name not in chosen]
    chosen += widgets.several("Other classes", f"{key} others", more, format_func=bundle.words) if more else []
    found: dict[str, dict[str, float]] = {"sensitivity": {}, "specificity": {}}
    for name in chosen:
        left, right = st.columns(2, gap="medium")
        at = bundle.classes.index(name)
        for place, kind, text in (
            (left, "sensitivity", f"{words.plain(bundle.words(name))}: found, at least"),
            (right, "specificity", f"{words.plain(bundle.words(name))}: left alone where it is not, at least"),
        ):
            asked = getattr(first, kind).get(name, 0.8)
            found[kind][name] = _share(text, f"{key} {kind} {at}", asked, place)
    with st.expander("The rest of the bar"):
        rest = {kind: _share(text, f"{key} {kind}", _first(first, kind)) for kind, text in WHAT.items()}
        models = widgets.select("Whose answers count", f"{key} models", list(MODELS), "student", format_func=MODELS.get)
        rule = widgets.select("A class is found where", f"{key} rule", list(RULES), "answer", format_func=RULES.get)
        looks = widgets.number("Looks planned while cases are gathered", f"{key} looks", 1, 1, max_value=20)
    over_all = {kind: {ALL: share} for kind, share in rest.items() if kind != "calibration"}
    told = {"calibration": rest["calibration"], "models": models, "rule": rule, "looks": looks}
    return Bar.model_validate({**found, **over_all, **told})


def _first(bar: Bar, kind: str) -> float:
    value = getattr(bar, kind)
    return float(value[ALL] if isinstance(value, dict) else value)


def _share(text: str, key: str, value: float, place: object = st) -> float:
    return widgets.number(text, key, value, 0.01, place, max_value=0.999, step=0.01, format="%g")


def _result(bundle: Bundle, found: Result) -> None:
    """The verdict first, every line below it, what it rests on one click away; and the record to take along."""
    alarm = " alarm" if found.verdict in ("rejected", "stop") else ""
    told = document(found, bundle.words)
    put(write('<div class="kd-verdict{}">{}</div>', alarm, VERDICTS[found.verdict]))
    verdict, *sections = told.sections
    documents.draw_each(verdict.blocks[1:])
    documents.draw(sections, heads=False)
    left, right, _ = st.columns([1, 1, 2])
    stem = f"{found.bundle}-{found.sha256[:12]}"
    left.download_button("Record (JSON)", found.text(), f"{stem}.json", "application/json", width="stretch")
    right.download_button("Report (PDF)", partial(_pdf, found, bundle), f"{stem}.pdf", width="stretch")


def _pdf(found: Result, bundle: Bundle) -> bytes:
    from kdlight.reports.pdf import pdf

    return pdf(document(found, bundle.words))
