"""How a page waits for a job: a line that renews itself, a way to stop, and the page again when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from kdlight.ui import words
from kdlight.ui.jobs import Job


@dataclass(slots=True, eq=False)
class Errand:
    """A worker's ticket, looked at as a job."""

    ticket: Any

    @property
    def done(self) -> bool:
        return bool(self.ticket.done)

    @property
    def share(self) -> float:
        return min(max(float(self.ticket.progress[0]), 0.0), 1.0)

    @property
    def words(self) -> str:
        return f"In the queue, {self.ticket.position} before" if self.ticket.position else self.ticket.progress[1]

    @property
    def error(self) -> str | None:
        try:
            self.ticket.result(0)
        except ValueError as error:
            return words.sentence(error)
        return None

    @property
    def result(self) -> Any:
        return self.ticket.result(0)

    def cancel(self) -> None:
        self.ticket.cancel()


def job(name: str) -> Job | Errand | None:
    """The job that this session keeps under `name`."""
    found: Job | Errand | None = st.session_state.get(f"job {name}")
    return found


def begin(name: str, task: str, **arguments: Any) -> Job:
    """Start a job and keep it under `name`; one that runs there already is ended."""
    drop(name)
    started = Job(task, **arguments)
    st.session_state[f"job {name}"] = started
    return started


def send(name: str, ticket: Any) -> None:
    """Keep a worker's ticket under `name`, as if it were a job."""
    drop(name)
    st.session_state[f"job {name}"] = Errand(ticket)


def drop(name: str) -> None:
    """Forget a job; end it if it runs."""
    found = st.session_state.pop(f"job {name}", None)
    if found is not None and not found.done:
        found.cancel()


def result(name: str) -> Any:
    """What the job under `name` found, None while there is none; draws its progress or its error."""
    found = job(name)
    if found is None:
        return None
    if not found.done:
        _progress(name, found)
        return None
    if found.error is not None:
        st.error(words.plain(found.error), icon=":material/error:")
        return None
    return found.result


@st.fragment(run_every=0.5)
def _progress(name: str, found: Job | Errand) -> None:
    if found.done:
        st.rerun()
    line, stop = st.columns([6, 1], vertical_alignment="bottom")
    line.progress(found.share, text=words.plain(found.words))
    stop.button("Stop", key=f"stop {name}", on_click=drop, args=[name], width="stretch")
