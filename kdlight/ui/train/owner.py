"""Whose run it is: the browser that started one acts on it at once; every other person first says so in words.

This keeps people who share a server from ending one another's trainings by mistake. It is no lock: whoever may use the
app may, after that word, act on every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from kdlight import storage
from kdlight.runs import Run
from kdlight.ui import sessions

OWNER = "owner.txt"
"""In a run's folder: the browser that started it, by a digest of its secret."""
ASKED = "run asked"
"""Session entry: the run and the word that a person is asked for."""


def claim(run: Run, own: str) -> None:
    """Note which browser started it, by `sessions.browser`. One without cookies owns nothing."""
    if own:
        storage.write(run.path / OWNER, own.encode())


def is_own(run: Run) -> bool:
    own = sessions.browser()
    try:
        return bool(own) and storage.read(run.path / OWNER) == own.encode()
    except (storage.UnreadableError, OSError):
        return False


def act(row: Any, label: str, verb: str, run: Run, action: Callable[[], None], **look: Any) -> None:
    """A button that acts at once on one's own run, and asks first on another's."""
    if is_own(run):
        row.button(label, key=f"{verb} run", on_click=action, **look)
    else:
        row.button(label, key=f"{verb} run", on_click=_ask, args=[run, verb], **look)


def question(run: Run, actions: Mapping[str, Callable[[], None]]) -> None:
    """Where somebody asked to act on another's run: which word goes on, and a way back. actions: by their verb."""
    name, verb = st.session_state.get(ASKED, ("", ""))
    if name != run.name or verb not in actions:
        return
    with st.container(border=True):
        st.warning(
            f"This run was started in another browser or on the command line. Ask whoever started it first. To {verb} "
            f"it all the same, write {verb} below.",
            icon=":material/person_alert:",
        )
        st.text_input(f"Write {verb}", key=f"word to {verb}")
        row = st.container(horizontal=True)
        row.button(f"{verb.capitalize()} it all the same", key="all the same", on_click=_go, args=[verb, actions[verb]])
        row.button("Leave it", key="leave run", on_click=_leave)


def _ask(run: Run, verb: str) -> None:
    st.session_state[ASKED] = (run.name, verb)


def _leave() -> None:
    st.session_state.pop(ASKED, None)


def _go(verb: str, action: Callable[[], None]) -> None:
    if str(st.session_state.get(f"word to {verb}", "")).strip().lower() == verb:
        _leave()
        action()
