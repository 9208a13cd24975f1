"""What can be done with a run: stop, resume, add to the library, delete after a question."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from kdlight import runs
from kdlight.runs import LIVE, Run, RunError
from kdlight.ui import words
from kdlight.ui.library import store

SAID = "run said"
"""Session entry: one line that the next drawing of the page shows."""


def draw(run: Run, state: str, failed: bool) -> None:
    """The buttons that fit a run's state. `failed`: its pair is no better than chance."""
    row = st.container(horizontal=True)
    if state in LIVE:
        row.button("Stop", icon=":material/stop:", on_click=_stop, args=[run], key="stop run")
    elif state in ("stopped", "failed"):
        row.button("Resume", icon=":material/play_arrow:", on_click=_resume, args=[run], key="resume run")
    elif failed:
        row.button("Add to library as failed", on_click=_add, args=[run], key="add run")
    else:
        row.button("Add to library", type="primary", on_click=_add, args=[run], key="add run")
    if state not in LIVE and row.button("Delete this run", type="tertiary", icon=":material/delete:", key="delete run"):
        confirm_delete(run)


def toast() -> None:
    """Show what the last action left to say."""
    message = st.session_state.pop(SAID, None)
    if message:
        st.toast(message)


@st.dialog("Delete this run?")
def confirm_delete(run: Run) -> None:
    """Asks before anything is gone, with what will be."""
    from kdlight.ui.train.run_view import title

    try:
        size = words.megabytes(runs.size(run))
        kept = "Its bundle goes too, unless you have added it to the library." if run.bundle.is_dir() else ""
        st.markdown(
            f"**{words.plain(title(run))}** is deleted from this machine: its recipe, curves and weights, {size} in "
            f"all. {kept} This cannot be undone."
        )
    except (RunError, OSError):
        st.markdown("This run is no longer on this machine.")
    row = st.container(horizontal=True)
    if row.button("Delete it", type="primary", on_click=_delete, args=[run]) or row.button("Keep it"):
        st.rerun()


def _stop(run: Run) -> None:
    _try(runs.stop, run, unless=("stopped", "failed", "done"))


def _resume(run: Run) -> None:
    _try(runs.resume, run, unless=LIVE)


def _try(action: Callable[[Run], None], run: Run, unless: tuple[str, ...]) -> None:
    """Do it; a second click, here or in another window, finds the state that it wanted and needs no answer."""
    try:
        if run.status().state not in unless:
            action(run)
    except (RunError, OSError) as error:
        if _state(run) not in (*unless, None):
            st.session_state[SAID] = words.plain(words.sentence(error))


def _state(run: Run) -> str | None:
    try:
        return str(run.status().state)
    except RunError:
        return None


def _add(run: Run) -> None:
    try:
        kept = store.add(run.bundle)
    except (ValueError, OSError) as error:
        st.session_state[SAID] = words.plain(words.sentence(error))
        return
    st.session_state["bundle"] = str(kept)
    st.session_state[SAID] = "Added to the library. Compare opens on it."


def _delete(run: Run) -> None:
    try:
        runs.delete(run)
    except (RunError, OSError) as error:
        st.session_state[SAID] = words.plain(words.sentence(error))
        return
    st.query_params.pop("run", None)
    st.session_state[SAID] = "The run is deleted."
