"""Model calls, all of them by way of the worker processes; and what the page shows while it waits."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from kdlight import images
from kdlight.explain import EXPLAINERS
from kdlight.images import Image
from kdlight.reading import ROLES, Reading
from kdlight.ui import words
from kdlight.workers import Read, Ticket, Workers

READINGS_KEPT = 12
SOON = 1.5
"""Seconds the page waits in one go before it lets go, offers to cancel, and looks again twice a second."""
STEP = 0.01


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about the scan; two equal questions have one answer."""

    sha256: str
    frame: int
    bundle: str
    """The bundle's digest: another version is another question."""
    modality: str | None
    method: str | None
    class_name: str | None
    confirmed: bool


@dataclass(slots=True, eq=False)
class Asked:
    """A question on its way."""

    question: Question
    ticket: Ticket


@st.cache_resource(show_spinner=False)
def workers() -> Workers:
    """The one set of worker processes that every session of this server shares."""
    images.warm()
    return Workers()


def known(question: Question) -> Reading | None:
    """An answer that this session already has."""
    found: Reading | None = _readings().get(question)
    return found


def latest(question: Question) -> Reading | None:
    """The newest answer on the same frame and bundle, without its maps: it stands until the asked one comes."""
    same = ("sha256", "frame", "bundle", "modality", "confirmed")
    found = [r for q, r in _readings().items() if all(getattr(q, name) == getattr(question, name) for name in same)]
    if not found:
        return None
    bare = {role: replace(getattr(found[-1], role), heat_map=None) for role in ROLES}
    return replace(found[-1], map_similarity=None, **bare)


def first(question: Question) -> Question:
    """What to ask now: a slow map waits until the reading itself is on the page."""
    slow = question.method is not None and EXPLAINERS[question.method].cost == "slow"
    return replace(question, method=None, class_name=None) if slow and latest(question) is None else question


def ask(question: Question, image: Image, path: Path) -> Asked:
    """Hand the question to the workers, once. Raises QueueFull (a ValueError) where too many wait."""
    asked: Asked | None = st.session_state.get("asked")
    if asked is None or asked.question != question:
        drop()
        request = Read(path, image, question.method, question.class_name, question.confirmed, question.modality)
        asked = Asked(question, workers().submit(request))
        st.session_state["asked"] = asked
    return asked


def answered(asked: Asked) -> Reading | None:
    """Wait a moment, with a line that says which step it is at; None if it takes longer.

    Raises what the worker raised: IneligibleError, WorkerDied and others, each with its sentence.
    """
    line, until, shown = st.empty(), time.monotonic() + SOON, None
    while not asked.ticket.done and time.monotonic() < until:
        state = _state(asked.ticket)
        if state != shown:
            line.progress(*state)
            shown = state
        time.sleep(STEP)
    line.empty()
    return _collect(asked) if asked.ticket.done else None


@st.fragment(run_every=0.5)
def look_again(asked: Asked) -> None:
    """A long wait: the line renews itself beside a way out, and the page starts again when the answer is there."""
    if asked.ticket.done:
        st.rerun()
    line, stop = st.columns([6, 1], vertical_alignment="bottom")
    line.progress(*_state(asked.ticket))
    stop.button("Cancel", key="cancel reading", on_click=cancel, args=[asked], width="stretch")


def cancel(asked: Asked) -> None:
    """Stop the work; the page does not ask again until the person does. An answer that is there already stays."""
    if not asked.ticket.done:
        drop()
        st.session_state["declined"] = asked.question


def declined(question: Question) -> bool:
    """Whether the person canceled this very question."""
    return bool(st.session_state.get("declined") == question)


def drop() -> None:
    """Stop the open question, if there is one."""
    asked: Asked | None = st.session_state.get("asked")
    if asked is not None:
        asked.ticket.cancel()
    forget()


def forget() -> None:
    """Drop what became of the last question, so that the next run of the page asks again."""
    for entry in ("asked", "declined"):
        st.session_state.pop(entry, None)


def _collect(asked: Asked) -> Reading:
    try:
        answer: Reading = asked.ticket.result(0)
    except ValueError:
        forget()
        raise
    forget()
    kept = _readings()
    kept[asked.question] = answer
    while len(kept) > READINGS_KEPT:
        kept.popitem(last=False)
    return answer


def _state(ticket: Ticket) -> tuple[float, str]:
    """Share done and the words for it."""
    place = ticket.position
    if place:
        others = "one other reading is" if place == 1 else f"{place} other readings are"
        return 0.0, f"In the queue: {others} before yours."
    share, said = ticket.progress
    share, said = min(max(share, 0.0), 1.0), said or "Teacher and student are reading the scan"
    return share, f"{said}, {words.percent(share)}" if share else said


def _readings() -> OrderedDict[Question, Reading]:
    kept: OrderedDict[Question, Reading] = st.session_state.setdefault("readings", OrderedDict())
    return kept
