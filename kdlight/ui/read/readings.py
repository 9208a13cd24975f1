"""The readings of one session: what was asked of the models, the answers to it, and what shows while it waits."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from kdlight.contracts.options import Value
from kdlight.contracts.reading import ROLES, Reading
from kdlight.explain import EXPLAINERS
from kdlight.images import Image
from kdlight.ui import waiting
from kdlight.workers import Read, Ticket

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
    options: tuple[tuple[str, Value], ...] = ()
    """Of the method of the map."""


@dataclass(slots=True, eq=False)
class Asked:
    """A question on its way."""

    question: Question
    ticket: Ticket[Reading]


def known(question: Question) -> Reading | None:
    """An answer that this session already has."""
    return _readings().get(question)


def latest(question: Question) -> Reading | None:
    """The newest answer on the same frame and bundle, without its maps: it stands until the asked one comes."""
    same = unmapped(question)
    for other, reading in reversed(_readings().items()):
        if unmapped(other) == same:
            bare = {role: replace(getattr(reading, role), heat_map=None) for role in ROLES}
            return replace(reading, map_similarity=None, map_likeness=None, **bare)
    return None


def unmapped(question: Question) -> Question:
    """The same without a heat map."""
    return replace(question, method=None, class_name=None, options=())


def first(question: Question) -> Question:
    """What to ask now: a slow map waits until the reading itself is on the page."""
    slow = question.method is not None and EXPLAINERS[question.method].cost == "slow"
    return unmapped(question) if slow and latest(question) is None else question


def ask(question: Question, image: Image, path: Path) -> Asked:
    """Hand the question to the workers, once. Raises QueueFull (a ValueError) where too many wait."""
    asked: Asked | None = st.session_state.get("asked")
    if asked is None or asked.question != question:
        drop()
        parts = (question.method, question.class_name, question.confirmed, question.modality)
        request = Read(path, image, *parts, options=dict(question.options))
        asked = st.session_state["asked"] = Asked(question, waiting.submit(request))
    return asked


def answered(asked: Asked) -> Reading | None:
    """Wait a moment, with a line that says which step it is at; None if it takes longer.

    Raises what the worker raised: IneligibleError, WorkerDied and others, each with its sentence.
    """
    line, until, shown = st.empty(), time.monotonic() + SOON, None
    while not asked.ticket.done and time.monotonic() < until:
        state = waiting.state(asked.ticket, "reading")
        if state != shown:
            line.progress(*state)
            shown = state
        time.sleep(STEP)
    line.empty()
    if not asked.ticket.done:
        return None
    forget()
    reading = _readings()[asked.question] = asked.ticket.result(0)
    while len(_readings()) > READINGS_KEPT:
        _readings().popitem(last=False)
    return reading


def poll(asked: Asked) -> None:
    """A long wait: the line renews itself beside a way out, and the page starts again when the answer is there."""
    waiting.poll(asked.ticket, "reading", "Cancel", cancel, asked)


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


def _readings() -> OrderedDict[Question, Reading]:
    readings: OrderedDict[Question, Reading] = st.session_state.setdefault("readings", OrderedDict())
    return readings
