"""Both opinions of a reading in words and bars, how fast and small the student is, and what the numbers mean."""

from __future__ import annotations

import math

import streamlit as st

from kdlight.bundle import Bundle
from kdlight.bundle.speed import Speed
from kdlight.contracts.reading import ROLES, Opinion, Reading
from kdlight.ui import theme, waiting, words
from kdlight.ui.markup import Markup, joined, put, write
from kdlight.ui.read import sensitivity, worth
from kdlight.workers import Latency

NOT_IDLE = "No time was measured: a reading is being worked on. Try again when it is done."
SHOWN = 7
"""Classes with a bar of their own; the rest is summed up in one line."""


def result(reading: Reading, bundle: Bundle) -> None:
    """Under the panes: both answers with their bars, what the student saves, and what the numbers mean."""
    both(reading, bundle)
    st.divider()
    _speed(bundle)
    known = f"It knows these {len(bundle.classes)} classes only: whatever a scan shows is put into one of them."
    theme.line(known)
    sensitivity.draw(bundle.card)
    worth.draw(reading, bundle)
    meaning(reading, bundle)


def both(reading: Reading, bundle: Bundle) -> None:
    """The two opinions side by side, under their panes."""
    for column, role in zip(st.columns(2, gap="medium"), ROLES, strict=True):
        put(opinion_html(getattr(reading, role), bundle, reading.level), column)


def opinion_html(opinion: Opinion, bundle: Bundle, level: float) -> Markup:
    """One model's answer as HTML: the class, a bar per class with its number, the set, what it cost."""
    ranked = sorted(opinion.probabilities.items(), key=lambda pair: -pair[1])
    shown = len(ranked) if len(ranked) == SHOWN + 1 else SHOWN
    rows = [_row(bundle, opinion, name) for name, _ in ranked[:shown]]
    if len(ranked) > shown:
        rest = sum(p for _, p in ranked[shown:])
        others = f"{len(ranked) - shown} other classes together {words.percent(rest)}"
        rows.append(write('<div class="kd-facts">{}</div>', others))
    return write(
        '<section class="kd-opinion {role}" aria-label="{role}"><div class="kd-top"><span class="kd-class">{top}</span>'
        '<span class="kd-p">{p}</span></div>{rows}{facts}</section>',
        role=opinion.role,
        top=bundle.words(opinion.prediction),
        p=words.percent(opinion.confidence),
        rows=joined(rows),
        facts=_facts(opinion, bundle, level),
    )


def meaning(reading: Reading, bundle: Bundle) -> None:
    """What the numbers mean, for whoever asks."""
    leads = ", ".join(f"{o.role} {words.number(100 * o.margin, 2)} points" for o in reading.opinions)
    with st.expander("What this means"):
        st.markdown(
            "- **Percent**: each model's own probability, calibrated on held-back images; both can be wrong together.\n"
            f"- **Set**: {_promise(reading, bundle)} What is in it cannot be ruled out at that level.\n"
            f"- **Undecided**: the first class leads the second by less than twice the calibration error ({leads}), so "
            "that the order of the two cannot be relied on.\n"
            "- **Heat map**: which parts pushed the answer, coarse by nature. It shows where a model looked, not where "
            "disease is.\n"
            "- **Balanced accuracy**: the mean share of right answers per class, with its 95 % interval."
        )
        st.markdown("**What this bundle cannot do**")
        st.markdown("\n".join(f"- {words.plain(line)}" for line in bundle.card.limits))


def _promise(reading: Reading, bundle: Bundle) -> str:
    """What a prediction set holds, how often, and for which classes nobody can say."""
    level, sets = words.percent(reading.level), bundle.card.conformal
    if not reading.level_by_class:
        return f"the classes that held the true one in about {level} of held-back images like these."
    without = dict.fromkeys(bundle.words(name) for role in ROLES for name in sets.unpromised(role))
    gap = f" Of {words.plain(words.listed([*without]))} there were too few images to promise it." if without else ""
    return f"the classes that held the true one in about {level} of held-back images of each class.{gap}"


def _row(bundle: Bundle, opinion: Opinion, name: str) -> Markup:
    p, first = opinion.probabilities[name], name == opinion.prediction
    entry = next(c for c in bundle.card.classes if c.name == name)
    urgent = entry.must_not_miss and opinion.holds_possible(name)
    alarm = write(' <span class="kd-alarm">must not miss</span>') if urgent else ""
    width = max(0.0, min(100.0, p * 100)) if math.isfinite(p) else 0.0
    return write(
        '<div class="kd-row{first}"><span class="kd-name" title="{name}">{name}{alarm}</span>'
        '<span class="kd-track" aria-hidden="true"><i style="width:{width:.1f}%"></i></span>'
        '<span class="kd-num">{p}</span></div>',
        first=" first" if first else "",
        name=entry.words,
        alarm=alarm,
        width=width,
        p=words.percent(p),
    )


def _facts(opinion: Opinion, bundle: Bundle, level: float) -> Markup:
    names = words.listed([bundle.words(name) for name in opinion.prediction_set])
    cost = f"{words.architecture(opinion.architecture)} · {words.megabytes(opinion.bytes)}"
    about_map = " ".join(filter(None, (opinion.heat_map.note, opinion.heat_map.grain))) if opinion.heat_map else ""
    note = write("<br>{}", about_map) if about_map else ""
    return write('<div class="kd-facts">Set at {}: {}<br>{}{}</div>', words.percent(level), names, cost, note)


def _speed(bundle: Bundle) -> None:
    """One line with the sizes and the recorded or measured times, and the offer to measure here."""
    name = f"speed {bundle.sha256}"
    line = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
    _take_refusal(name)
    measured: Speed | None = waiting.result(name)
    recorded = bundle.card.metrics.latency
    smaller = f"Student: {words.times(bundle.card.times_smaller)} smaller"
    faster, rest = speed_sentence(measured or recorded, here=measured is not None)
    put(write('<div class="kd-line"><span class="kd-strong">{}{}</span>{}</div>', smaller, faster, rest), line)
    line.button(
        "Measure here",
        icon=":material/timer:",
        on_click=_measure,
        args=[name, bundle],
        help="Both models in turns on this machine: 10 warm-ups, then the medians of 50 runs each.",
    )
    if (refused := st.session_state.pop("not measured", None)) is not None:
        st.info(words.plain(refused), icon=":material/timer_off:")


def speed_sentence(speed: Speed | None, here: bool) -> tuple[str, str]:
    """The end of the bold part of the line, and the rest of it."""
    if speed is None:
        return ".", " Its speed was not recorded."
    machine = f"Recorded on {speed.machine.cpu}, {words.many(speed.machine.cores, 'core')}"
    engine = "" if speed.same_engine else f", the teacher on {speed.engine}"
    return (
        f", {words.faster(speed.times_faster)}.",
        f" {'Measured here' if here else machine}: teacher {words.number(speed.teacher_ms)} ms, "
        f"student {words.number(speed.student_ms)} ms{engine} "
        f"(medians of {speed.runs}, {words.many(speed.threads, 'thread')}, {speed.size} px).",
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
