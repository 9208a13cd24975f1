"""Work in other processes as a page sees it: started under a name, drawn while it runs, its answer when it is there."""

from __future__ import annotations

from typing import Any, TypeVar

import streamlit as st

from kdlight import images
from kdlight.processes import cores
from kdlight.ui import words
from kdlight.workers import Latency, QueueFull, Read, Request, Ticket, Verify, Workers

R = TypeVar("R")
JOBS_AT_ONCE = 4
JOB_MEMORY = 2**40
"""Bytes; more than any machine, so that the share of its memory counts that a process may have: sets can be large."""
JOB_SECONDS = 60.0
"""How long the process of a job stays for the next one."""


@st.cache_resource(show_spinner=False)
def workers() -> Workers:
    """The warm models that every session of this server shares."""
    images.warm()
    return Workers()


@st.cache_resource(show_spinner=False)
def jobs() -> Workers:
    """The processes for long work, which must not hold up a reading."""
    return Workers(JOBS_AT_ONCE, queue=32, threads=cores(), keep=JOB_SECONDS, memory=JOB_MEMORY)


def submit(request: Request[R]) -> Ticket[R]:
    """Ask those who are there for it. Raises QueueFull (a ValueError) where too many wait."""
    return (workers() if isinstance(request, Read | Latency | Verify) else jobs()).submit(request)


def ticket(name: str) -> Ticket[Any] | None:
    """What this session asked under `name`."""
    return st.session_state.get(f"ticket {name}")


def begin(name: str, request: Request[Any]) -> None:
    """Ask and keep the ticket under `name`; what runs there already is ended. A full queue is said in passing."""
    drop(name)
    try:
        st.session_state[f"ticket {name}"] = submit(request)
    except QueueFull as full:
        st.toast(words.plain(words.sentence(full)), icon=":material/error:")


def drop(name: str) -> None:
    """Forget what was asked under `name`; end it if it runs."""
    started = st.session_state.pop(f"ticket {name}", None)
    if started is not None:
        started.cancel()


def result(name: str, request: Request[R] | None = None) -> Any:
    """The answer to what was asked under `name`; draws its progress or its error.

    None while there is none, and where `request` is given and something else was asked.
    """
    started = ticket(name)
    if started is None:
        return None
    if not started.done:
        poll(started, "task", "Stop", drop, name)
        return None
    try:
        answer = started.result(0)
        return answer if request is None or started.request == request else None
    except ValueError as error:
        st.error(words.plain(words.sentence(error)), icon=":material/error:")
        return None


@st.fragment(run_every=0.5)
def poll(started: Ticket[Any], kind: str, label: str, stop: Any, *arguments: Any) -> None:
    """A line that renews itself beside a button that calls `stop`; the page starts again when the answer is there."""
    if started.done:
        st.rerun()
    line, side = st.columns([6, 1], vertical_alignment="bottom")
    line.progress(*state(started, kind))
    side.button(label, key=f"{label} {id(started)}", on_click=stop, args=arguments, width="stretch")


def state(started: Ticket[Any], kind: str) -> tuple[float, str]:
    """Share done, 0 to 1, and the words for it. kind: what waits in the same queue."""
    share, text = started.progress
    share, before = min(max(share, 0.0), 1.0), started.position
    if before:
        others = f"one other {kind} is" if before == 1 else f"{before} other {kind}s are"
        return 0.0, f"In the queue: {others} before yours."
    text = words.plain(text) or "Starting"
    return share, f"{text}, {words.percent(share)}" if share else text
