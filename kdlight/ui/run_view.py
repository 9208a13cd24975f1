"""A run as its folder tells it: stage, progress, curves, and what can be done with it."""

from __future__ import annotations

import shutil
import time
from typing import Any, Literal

import streamlit as st

from kdlight import runs
from kdlight.runs import Run, RunError
from kdlight.ui import charts, comparison, shelf, store, words

STAGES = {
    "data": "Opening the images",
    "teacher": "Training the teacher",
    "alone": "Training the student alone",
    "scratch": "Training the student from random weights",
    "student": "Training the student with its teacher",
    "calibrate": "Calibrating both",
    "bundle": "Measuring and packing the bundle",
}
STATES = {"queued": "waiting", "running": "running", "stopped": "stopped", "failed": "failed", "done": "finished"}
LIVE = ("queued", "running")
LISTED = 15


def choose() -> Run | None:
    """Past runs, newest first; the choice stands in the address, so a reload finds it again."""
    found = {run.name: run for run in runs.list_runs(runs.default_root())}
    kept = found.get(st.query_params.get("run", ""))
    if found and st.button("New training", icon=":material/add:", width="stretch", disabled=kept is None):
        show(None)
    if found:
        st.caption("Runs")
    for name, run in list(found.items())[:LISTED]:
        words_of = f"{title(run)}  \n{STATES[run.status()['state']]}"
        kind: Literal["secondary", "tertiary"] = "secondary" if kept is run else "tertiary"
        if st.button(words.plain(words_of), key=f"run {name}", type=kind, width="stretch") and kept is not run:
            show(name)
    return kept


def begin(toml: str) -> None:
    """Start a run in its own process and show it; where that fails, say why."""
    try:
        started = runs.start(toml, runs.default_root())
    except (RunError, OSError) as error:
        st.error(words.plain(words.sentence(error)))
        return
    show(started.name)


def show(name: str | None) -> None:
    """Put a run (or none) in the address and draw the page with it."""
    if name is None:
        st.query_params.pop("run", None)
    else:
        st.query_params["run"] = name
    st.rerun()


def title(run: Run) -> str:
    """What it trains on, and when it began."""
    began = time.strftime("%d %b %H:%M", time.localtime(run.status().get("started", 0)))
    return f"{_recipe(run)} · {began}"


def draw(run: Run) -> None:
    """The whole view; a live run renews itself."""
    live = run.status()["state"] in LIVE
    st.fragment(_draw, run_every=2.0 if live else None)(run, live)


def _draw(run: Run, was_live: bool) -> None:
    status, log = run.status(), run.log()
    if was_live and status["state"] not in LIVE:
        st.rerun()
    _progress(status, log)
    _actions(run, status["state"])
    if status.get("message") and status["state"] in ("failed", "stopped"):
        (st.error if status["state"] == "failed" else st.info)(words.plain(status["message"]))
    if status["state"] == "done":
        _outcome(run)
    if log:
        left, right = st.columns(2, gap="medium")
        for column, field, name in (
            (left, "loss", "training loss"),
            (right, "val_balanced_accuracy", "balanced accuracy on validation"),
        ):
            column.altair_chart(
                charts.curves(log, field, name).properties(height=charts.HEIGHT), alt=f"{name} by epoch"
            )
    with st.expander("Recipe"):
        st.code(run.recipe.read_text(encoding="utf-8"), language="toml")


def _progress(status: dict[str, Any], log: list[dict[str, Any]]) -> None:
    """One line and one bar: which stage, which epoch, how long, how much is left."""
    state, stage = status["state"], status.get("stage", "data")
    ended = status["updated"] if state not in LIVE else time.time()
    parts = [f"{words.duration(ended - status.get('started', ended))} elapsed"]
    epoch, epochs = _epoch(status, log, stage)
    if state in LIVE and epochs:
        seconds = [r["seconds"] for r in log if r.get("stage") == stage and "seconds" in r]
        if seconds:
            parts.append(f"about {words.duration((epochs - epoch) * sum(seconds) / len(seconds))} left in this stage")
    order = list(STAGES)
    share = 1.0 if state == "done" else (order.index(stage) + (epoch / epochs if epochs else 0)) / len(order)
    title = (
        "Finished" if state == "done" else STAGES[stage] if state in LIVE else f"{STATES[state].capitalize()}: {stage}"
    )
    step = f", epoch {epoch} of {epochs}" if epochs and state != "done" else ""
    st.progress(min(share, 1.0), text=f"**{title}{step}** · {' · '.join(parts)}")


def _outcome(run: Run) -> None:
    """What the test images say of a finished run's pair; nothing where its bundle is gone."""
    bundle = shelf.opened(run.bundle)
    if bundle is None:
        return
    metrics = bundle.card.metrics
    tested = words.safe(f"Tested on {metrics.get('n', '?')} images that neither was trained on.")
    st.html(f'<div class="kd-line">{tested} {words.PRECISION}</div>')
    comparison.table(bundle, metrics)
    st.html(f'<div class="kd-line">{comparison.verdict(metrics)}</div>')


def _epoch(status: dict[str, Any], log: list[dict[str, Any]], stage: str) -> tuple[int, int]:
    here = [r for r in log if r.get("stage") == stage and "epoch" in r]
    if here:
        return int(here[-1]["epoch"]), int(here[-1].get("epochs", 0))
    return int(status.get("epoch", 0)), int(status.get("epochs", 0))


def _actions(run: Run, state: str) -> None:
    row = st.container(horizontal=True)
    if state in LIVE:
        row.button("Stop", icon=":material/stop:", on_click=_try, args=[runs.stop, run], key="stop run")
    elif state in ("stopped", "failed"):
        row.button("Resume", icon=":material/play_arrow:", on_click=_try, args=[runs.resume, run], key="resume run")
    elif state == "done":
        row.button("Add to library", type="primary", on_click=_add, args=[run], key="add run")
    if state not in LIVE:
        row.button("Delete this run", type="tertiary", on_click=_delete, args=[run], key="delete run")
    said = st.session_state.pop("run said", None)
    if said:
        st.toast(said)


def _try(action: Any, run: Run) -> None:
    try:
        action(run)
    except (RunError, OSError) as error:
        st.session_state["run said"] = words.plain(words.sentence(error))


def _add(run: Run) -> None:
    try:
        kept = store.add(run.bundle)
    except (ValueError, OSError) as error:
        st.session_state["run said"] = words.plain(words.sentence(error))
        return
    st.session_state["bundle"] = str(kept)
    st.session_state["run said"] = "Added to the library. Compare opens on it."


def _delete(run: Run) -> None:
    shutil.rmtree(run.path, ignore_errors=True)
    st.query_params.pop("run", None)


def _recipe(run: Run) -> str:
    from kdlight.config import read_recipe

    try:
        recipe = read_recipe(run.recipe)
    except (ValueError, OSError):
        return "unreadable recipe"
    return recipe.data.title or recipe.name
