"""How fast and how small the student is: as its card recorded it, or measured here when the machine is quiet."""

from __future__ import annotations

import streamlit as st

from kdlight.bundle import Bundle
from kdlight.bundle.speed import Speed
from kdlight.ui import waiting, words
from kdlight.workers import Latency

NOT_IDLE = "No time was measured: a reading is being worked on. Try again when it is done."


def draw(bundle: Bundle) -> None:
    """One line with the sizes and the recorded or measured times, and the offer to measure here."""
    name = f"speed {bundle.sha256}"
    line = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
    _take_refusal(name)
    measured: Speed | None = waiting.result(name)
    recorded = bundle.card.metrics.latency
    smaller = f'<span class="kd-strong">Student: {words.times(bundle.card.times_smaller)} smaller'
    rest = sentence(measured or recorded, here=measured is not None)
    line.html(f'<div class="kd-line">{smaller}{rest}</div>')
    line.button(
        "Measure here",
        icon=":material/timer:",
        on_click=_measure,
        args=[name, bundle],
        help="Both models in turns on this machine: 10 warm-ups, then the medians of 50 runs each.",
    )
    if (refused := st.session_state.pop("not measured", None)) is not None:
        st.info(words.plain(refused), icon=":material/timer_off:")


def sentence(speed: Speed | None, here: bool) -> str:
    """The rest of the line, as HTML, from the end of the bold part on."""
    if speed is None:
        return ".</span> Its speed was not recorded."
    machine = f"Recorded on {words.safe(speed.machine.cpu)}, {words.many(speed.machine.cores, 'core')}"
    engine = "" if speed.same_engine else f", the teacher on {words.safe(speed.engine)}"
    return (
        f", {words.faster(speed.times_faster)}.</span> {'Measured here' if here else machine}: teacher "
        f"{words.number(speed.teacher_ms)} ms, student {words.number(speed.student_ms)} ms{engine} (medians of "
        f"{speed.runs}, {words.many(speed.threads, 'thread')}, {speed.size} px)."
    )


def _take_refusal(name: str) -> None:
    """A measurement that was refused is no error of the page: it is said once, and the button stays."""
    asked = waiting.ticket(name)
    if asked is not None and asked.done:
        try:
            asked.result(0)
        except ValueError as error:
            st.session_state["not measured"] = words.sentence(error)
            waiting.drop(name)


def _measure(name: str, bundle: Bundle) -> None:
    """Ask the workers for it, unless they are at work: what they do would be measured with it."""
    asked = waiting.ticket(name)
    if asked is not None and not asked.done:
        return
    if waiting.workers().idle:
        waiting.begin(name, Latency(bundle.path, bundle.spec.size, quiet=True))
    else:
        st.session_state["not measured"] = NOT_IDLE
