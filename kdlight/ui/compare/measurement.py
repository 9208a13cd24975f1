"""Compare, piece by piece: the table, the trade, the curves, the flips."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import streamlit as st

from kdlight.bundle import Bundle
from kdlight.bundle.card import Metrics
from kdlight.bundle.speed import Speed
from kdlight.contracts.reading import ROLES, Role
from kdlight.data.notes import had_a_part
from kdlight.metrics import Flip, Interval
from kdlight.metrics.localization import FIGURES
from kdlight.reports.drift import details, sentences
from kdlight.ui import charts, documents, shelf, theme, waiting, words
from kdlight.ui.markup import Markup, joined, put, write
from kdlight.ui.read import scans
from kdlight.workers.requests import Compare, Evaluation, ShownFlip

PER_PAGE = 12
CROSSINGS: Mapping[str, Callable[[Flip], bool]] = {
    "lost": lambda flip: flip.teacher == flip.truth,
    "gained": lambda flip: flip.student == flip.truth,
    "both wrong": lambda flip: flip.truth not in (flip.teacher, flip.student),
}
"""What became of an image from teacher to student."""


def job(bundle: Bundle) -> str:
    """The name that a measurement of this bundle is kept under."""
    return f"compare {bundle.sha256}"


def offer(bundle: Bundle, data: str, masks: str) -> None:
    """The button that measures on `data`, or the time alone where it is empty; it stays with its figures."""
    if st.button("Measure", type="primary", icon=":material/play_arrow:", width="stretch"):
        waiting.begin(job(bundle), Compare(bundle.path, data or None, masks=masks or None))


def _asked(bundle: Bundle) -> Compare | None:
    """The measurement that the figures come from."""
    ticket = waiting.ticket(job(bundle))
    return ticket.request if ticket is not None and isinstance(ticket.request, Compare) else None


def source(bundle: Bundle, metrics: Metrics, fresh: bool) -> str:
    """Where the figures come from: the set that was measured by its name, or the card."""
    split = metrics.split
    if not fresh:
        return f"As recorded in the card: {metrics.n} images of {bundle.card.data.name}, split {split}."
    asked = _asked(bundle)
    name = asked.data if asked and asked.data else "the named set"
    return f"Measured here on {metrics.n} images of {name}, split {split}. {had_a_part(metrics.split)}"


def speed(timed: Speed, here: bool) -> None:
    """Time per image as benchmarked, `here` or by whoever made the bundle, with what it was measured on."""
    engine = f"both on {timed.engine}" if timed.same_engine else f"the teacher on {timed.engine}"
    before = (
        f"One image, {'measured here' if here else 'as recorded'}: teacher {words.number(timed.teacher_ms)} ms, "
        f"student {words.number(timed.student_ms)} ms, "
    )
    after = (
        f" ({engine}, medians of {timed.runs}, {words.many(timed.threads, 'thread')}, {timed.size} px). "
        f"{timed.machine.cpu}, {timed.machine.cores} cores."
    )
    theme.line(write("{}<b>{}</b>{}", before, words.faster(timed.times_faster), after))


def trade(bundle: Bundle, metrics: Metrics, timed: Speed) -> None:
    """Accuracy against time."""
    st.subheader("Accuracy against time", anchor=False)
    points = []
    for role, ms in zip(ROLES, (timed.teacher_ms, timed.student_ms), strict=True):
        accuracy = metrics.of(role).balanced_accuracy or Interval(math.nan)
        size = bundle.card.network(role).bytes
        scores = {"accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high}
        points.append({"role": role, **scores, "ms": ms, "mb": size / 1e6, "words": f"{role}, {words.megabytes(size)}"})
    st.altair_chart(charts.trade(points).properties(height=charts.HEIGHT), alt="Accuracy against time per image")


def curves(bundle: Bundle, evaluation: Evaluation) -> None:
    """ROC of one class and reliability, side by side."""
    both = evaluation.curves
    names = [name for name in bundle.classes if name in both["teacher"].roc]
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("ROC", anchor=False)
        if names:
            urgent = [name for name in bundle.card.must_not_miss if name in names]
            first = names.index(urgent[0]) if urgent else 0
            name = st.selectbox("Class against the rest", names, first, format_func=bundle.words)
            st.altair_chart(charts.roc(both, name).properties(height=charts.HEIGHT), alt=f"ROC curves for {name}")
    with right:
        st.subheader("Reliability", anchor=False)
        theme.line("On the diagonal a stated 80 % is right 80 times in 100.")
        st.altair_chart(charts.reliability(both).properties(height=charts.HEIGHT), alt="Reliability of both models")


def outlines(bundle: Bundle, evaluation: Evaluation) -> None:
    """How well each model's heat maps cover what a person outlined, where the images have outlines."""
    located = evaluation.localization
    if located is None:
        return
    both = (located.teacher, located.student)
    st.subheader("Heat maps against the outlines", anchor=False)
    counts = f"teacher {located.teacher.n}, student {located.student.n}"
    asked = _asked(bundle)
    origin = f"Outlines: {asked.masks}." if asked and asked.masks else "The outlines lie with the images."
    theme.line(
        f"{words.method(located.method)} of each model's answer, on the outlined "
        f"images that it answers correctly ({counts} of {located.images}). The outlines take "
        f"{words.percent(located.area)} of the area: an even map has a lift of 1. {origin}"
    )
    heads = [theme.head(), *(theme.head(role.capitalize(), role) for role in ROLES)]
    rows = [[title, *(words.interval(getattr(one, name)) for one in both)] for name, title in FIGURES.items()]
    put(theme.table(heads, rows))


def drift(evaluation: Evaluation) -> None:
    """Whether these images are like those of the training's set, the numbers one click away."""
    found = evaluation.drift
    if found is None:
        theme.line("Whether these images differ from the training images is not known: the bundle is older than that.")
        return
    verdict = " ".join(sentences(found))
    if found.seen:
        st.warning(words.plain(verdict), icon=":material/warning:")
    else:
        theme.line(verdict)
    if found.shifts:
        with st.expander("Every number that was compared"):
            documents.draw_each(details(found))


def flips(bundle: Bundle, evaluation: Evaluation) -> None:
    """Every image on which the two differ: picture, truth, both answers, and a way to Read."""
    st.subheader(f"Where they differ: {evaluation.flips} of {evaluation.metrics.n} images", anchor=False)
    shown = evaluation.shown
    if not shown:
        theme.line("Both models gave the same answer to every image.")
        return
    if len(shown) < evaluation.flips:
        theme.line(f"The first {len(shown)} are listed.")
    which = st.segmented_control("Of these", ("all", *CROSSINGS), default="all", required=True)
    shown = tuple(flip for flip in shown if which == "all" or CROSSINGS[which](flip))
    pages = -(-len(shown) // PER_PAGE)
    page = st.segmented_control("Page", range(1, pages + 1), default=1, required=True) if pages > 1 else 1
    for number, flip in list(enumerate(shown))[(page - 1) * PER_PAGE : page * PER_PAGE]:
        _flip(bundle, flip, number)


def _flip(bundle: Bundle, flip: ShownFlip, number: int) -> None:
    picture, text, action = st.columns([1, 6, 1], vertical_alignment="center")
    about = f"Image of the labeled set, truth {bundle.words(flip.truth)}"
    put(write('<img class="kd-flip" src="data:image/png;base64,{}" alt="{}">', flip.thumbnail, about), picture)
    sides = joined((_side(bundle, flip, role) for role in ROLES), " ")
    truth = write('<span class="kd-strong">Truth: {}</span>', bundle.words(flip.truth))
    put(write('<div class="kd-line">{}<br>{}</div>', truth, sides), text)
    if flip.file and action.button("Read", key=f"flip {number}", width="stretch"):
        read(bundle, flip.file, flip.truth)


def read(bundle: Bundle, file: Path, truth: str) -> None:
    """Leave for Read with an image of the set, the bundle chosen."""
    scans.open_one(file, "Image of the labeled set", truth=bundle.words(truth))
    st.session_state["modality"] = bundle.card.modality
    shelf.prefer(bundle, bundle.card.modality)
    st.switch_page("pages/read.py")


def _side(bundle: Bundle, flip: ShownFlip, role: Role) -> Markup:
    answer, probability = getattr(flip, role), getattr(flip, f"{role}_probability")
    wrong = "" if answer == flip.truth else ", wrong"
    text = f"{role} {bundle.words(answer)} {words.percent(probability)}{wrong}"
    return write('<span class="kd-said {}">{}</span>', role, text)
