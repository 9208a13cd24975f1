"""A run as its folder tells it: phase, progress, curves, and what can be done with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from kdlight import runs, storage
from kdlight.contracts.reading import Role
from kdlight.contracts.recipe import Recipe
from kdlight.reports.pair import failure, gain_sentence
from kdlight.runs import LIVE, EpochRecord, Phase, Run, RunError, RunStatus, State
from kdlight.ui import pair, sessions, shelf, theme, words
from kdlight.ui.library import store
from kdlight.ui.train import learning_curves, owner

PHASES: dict[Phase, str] = {
    "data": "Opening the images",
    "teacher": "Training the teacher",
    "alone": "Training the student alone",
    "scratch": "Training the student from random weights",
    "same_start": "Training the student without its teacher from the same starting weights",
    "student": "Training the student with its teacher",
    "calibrate": "Calibrating both",
    "bundle": "Measuring and packing the bundle",
}
STATES: dict[State, str] = {
    "queued": "waiting",
    "running": "running",
    "stopped": "stopped",
    "failed": "failed",
    "done": "finished",
}
ENDED: tuple[State, ...] = ("stopped", "failed", "done")
CHANCE = "no better than chance"
LISTED = 15
NOTICE = "run notice"
"""Session entry: one line that the next drawing of the page shows."""
BEGUN = "run begun"
"""Session entry: the name of the run that was started last -> when; empty before the first."""
AGAIN = 3.0
"""Seconds in which another click on Start is the same click."""
LOOKS = 2.0
"""Seconds between two looks at a live run's folder."""
GLANCES = 5.0
"""Seconds between two looks at an ended run's folder, which another window may resume or delete."""


def choose() -> Run | None:
    """Past runs, newest first; the choice stands in the address, so a reload finds it again."""
    found, broken = runs.list_runs(runs.default_root())
    every = {run: _status(run) for run in found}
    listed = {run.name: (run, status) for run, status in every.items() if status is not None}
    asked = st.query_params.get("run", "")
    chosen = listed[asked][0] if asked in listed else None
    if asked and chosen is None:
        st.query_params.pop("run")
        st.session_state.setdefault(NOTICE, "That run is no longer on this machine.")
    if listed and st.button("New training", icon=":material/add:", width="stretch", disabled=chosen is None):
        show(None)
    if listed:
        st.caption("Runs")
    for name, (run, status) in list(listed.items())[:LISTED]:
        chance = f", {CHANCE}" if status.state == "done" and status.at_chance else ""
        label = f"{words.plain(title(run))}  \n{STATES[status.state]}{chance}"
        kind: Literal["secondary", "tertiary"] = "secondary" if chosen is run else "tertiary"
        if st.button(label, key=f"run {name}", type=kind, width="stretch") and chosen is not run:
            show(name)
    for reason in broken[:LISTED]:
        st.caption(words.plain(reason))
    _toast()
    return chosen


def begin(recipe: Recipe) -> None:
    """Start a run in its own process, one for a double click, and put it in the address; the page says why it fails."""
    begun: dict[str, float] = st.session_state.setdefault(BEGUN, {})
    for name, at in begun.items():
        if time.monotonic() - at < AGAIN:
            st.query_params["run"] = name
            return
    begun.clear()
    own = sessions.browser()  # asked before: between the start and its note a waiting click would break in here
    try:
        started = runs.start(recipe, runs.default_root())
    except (RunError, OSError) as error:
        _notice(error)
        return
    begun[started.name] = time.monotonic()  # not through the session: there a waiting click would break in before
    owner.claim(started, own)
    st.query_params["run"] = started.name


def show(name: str | None) -> None:
    """Put a run (or none) in the address and draw the page with it."""
    if name is None:
        st.query_params.pop("run", None)
        st.session_state.pop(BEGUN, None)
    else:
        st.query_params["run"] = name
    st.rerun()


def title(run: Run) -> str:
    """What it trains on, and when it began."""
    try:
        recipe = run.read_recipe()
        name = recipe.data.title or recipe.name
    except (ValueError, OSError):
        name = "unreadable recipe"
    began = time.localtime(getattr(_status(run), "started", 0.0))
    return f"{name} · {time.strftime('%d %b %H:%M', began)}"


def draw(run: Run) -> None:
    """The whole view. It renews itself while the run is live, and as soon as any window has changed the run's state."""
    status = _status(run)
    if status is None:
        st.rerun()  # deleted since the list was drawn, which then says so
    state = status.state
    if state in LIVE:
        st.fragment(_draw, run_every=LOOKS)(run, state)
        return
    _draw(run, state)
    st.fragment(_watch, run_every=GLANCES)(run, state)


def _watch(run: Run, drawn: str) -> None:
    """Draw the page anew once the run is in another state than the one that is drawn."""
    if getattr(_status(run), "state", None) != drawn:
        st.rerun()


def _draw(run: Run, drawn: str) -> None:
    _watch(run, drawn)
    status, log = run.status(), run.log()
    failed = _failed(run, status)
    _progress(status, log, failed)
    _actions(run, status.state, bool(failed))
    _toast()
    if status.message and status.state in ("failed", "stopped"):
        (st.error if status.state == "failed" else st.info)(words.plain(status.message))
    if status.note:
        st.info(words.plain(status.note))
    if said := failure(failed):
        st.error(f"{said} Look at the images, the labels and the curves before you train again.")
    began = run.teacher_start()
    if began is not None and began.kind == "random":
        st.warning(words.plain(f"The teacher started from {began.words}."), icon=":material/warning:")
    if status.state == "done":
        _outcome(run)
    if log:
        learning_curves.draw(log)
    with st.expander("Recipe"):
        st.code(_bounded(run.recipe), language="toml")


def _progress(status: RunStatus, log: list[EpochRecord], failed: Sequence[Role]) -> None:
    """One line and one bar: which phase, which epoch, how long, how much is left."""
    state, phase = status.state, status.phase
    ended = status.updated if state not in LIVE else time.time()
    parts = [f"{words.duration(ended - status.started)} elapsed"]
    here = [record for record in log if record.phase == phase]
    epoch, epochs = (here[-1].epoch, here[-1].epochs) if here else (status.epoch, status.epochs)
    if state in LIVE and here:
        each = sum(record.seconds for record in here) / len(here)
        parts.append(f"about {words.duration((epochs - epoch) * each)} left in this phase")
    order = list(PHASES)
    share = 1.0 if state == "done" else (order.index(phase) + (epoch / epochs if epochs else 0)) / len(order)
    done = f"Finished, {CHANCE}" if failed else "Finished"
    doing = PHASES[phase]
    if state not in LIVE:
        doing = f"{STATES[state].capitalize()} while {doing[0].lower()}{doing[1:]}"
    step = f", epoch {epoch} of {epochs}" if epochs and state != "done" else ""
    st.progress(min(share, 1.0), text=f"**{done if state == 'done' else doing}{step}** · {' · '.join(parts)}")


def _outcome(run: Run) -> None:
    """What the test images say of a finished run's pair; nothing where its bundle is gone."""
    bundle = shelf.opened(run.bundle)
    if bundle is None:
        return
    metrics = bundle.card.metrics
    theme.line(f"Tested on {metrics.n} images that neither was trained on. {words.PRECISION}")
    pair.table(bundle, metrics, metrics.latency)
    theme.line(gain_sentence(bundle.card))


def _failed(run: Run, status: RunStatus) -> tuple[Role, ...]:
    """Models of a finished run that are at chance: as the run keeps it, of an older run as its card tells."""
    if status.state != "done":
        return ()
    if status.at_chance is not None:
        return status.at_chance
    bundle = shelf.opened(run.bundle)
    return bundle.card.at_chance if bundle is not None else ()


def _status(run: Run) -> RunStatus | None:
    """A run's status; None where its folder was deleted meanwhile."""
    try:
        return run.status()
    except (RunError, OSError):
        return None


def _actions(run: Run, state: str, failed: bool) -> None:
    """The buttons that fit a run's state. `failed`: its pair is no better than chance."""
    row = st.container(horizontal=True)
    acts: dict[str, Callable[[], None]] = {
        "stop": lambda: _try(runs.stop, run, ENDED),
        "resume": lambda: _try(runs.resume, run, LIVE),
        "delete": lambda: _delete(run),
    }
    if state in LIVE:
        owner.act(row, "Stop", "stop", run, acts["stop"], icon=":material/stop:")
    elif state in ("stopped", "failed"):
        owner.act(row, "Resume", "resume", run, acts["resume"], icon=":material/play_arrow:")
    else:
        label = "Add to library as failed" if failed else "Add to library"
        row.button(label, type="secondary" if failed else "primary", on_click=_add, args=[run], key="add run")
    look: dict[str, Any] = {"type": "tertiary", "icon": ":material/delete:"}
    if state not in LIVE and not owner.is_own(run):
        owner.act(row, "Delete this run", "delete", run, acts["delete"], **look)
    elif state not in LIVE and row.button("Delete this run", key="delete run", **look):
        confirm_delete(run)
    owner.question(run, acts)


def _bounded(path: Path) -> str:
    """The text of a file that others may have changed, or why it cannot be shown."""
    try:
        return storage.read(path).decode(errors="replace")
    except (storage.UnreadableError, OSError) as error:
        return words.sentence(error)


def _toast() -> None:
    """Show what the last action left to say."""
    message = st.session_state.pop(NOTICE, None)
    if message:
        st.toast(message)


@st.dialog("Delete this run?")
def confirm_delete(run: Run) -> None:
    """Asks before anything is gone, with what will be."""
    try:
        size = words.megabytes(runs.size(run))
        bundle = "Its bundle goes too, unless you have added it to the library." if run.bundle.is_dir() else ""
        st.markdown(
            f"**{words.plain(title(run))}** is deleted from this machine: its recipe, curves and weights, {size} in "
            f"all. {bundle} This cannot be undone."
        )
    except (RunError, OSError):
        st.markdown("This run is no longer on this machine.")
    row = st.container(horizontal=True)
    if row.button("Delete it", type="primary", on_click=_delete, args=[run]) or row.button("Keep it"):
        st.rerun()


def _try(action: Callable[[Run], None], run: Run, unless: Container[str]) -> None:
    """Do it; a second click, here or in another window, finds the state that it wanted and needs no answer."""
    try:
        if run.status().state not in unless:
            action(run)
    except (RunError, OSError) as error:
        status = _status(run)
        if status is not None and status.state not in unless:
            _notice(error)


def _add(run: Run) -> None:
    try:
        added = store.add(run.bundle)
    except (ValueError, OSError) as error:
        _notice(error)
        return
    st.session_state["bundle"] = str(added)
    st.session_state[NOTICE] = "Added to the library. Compare opens on it."


def _delete(run: Run) -> None:
    try:
        runs.delete(run)
    except (RunError, OSError) as error:
        _notice(error)
        return
    st.query_params.pop("run", None)
    st.session_state[NOTICE] = "The run is deleted."


def _notice(error: Exception) -> None:
    st.session_state[NOTICE] = words.plain(words.sentence(error))
