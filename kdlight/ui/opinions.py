"""A Reading in words and bars: what each model says, whether they agree, and what the figures rest on."""

from __future__ import annotations

import math

import streamlit as st

from kdlight.bundle import Bundle
from kdlight.images import Image
from kdlight.modality import MODALITIES
from kdlight.reading import ROLES, Opinion, Reading
from kdlight.ui import words

SHOWN = 7
"""Classes with a bar of their own; the rest is summed up in one line."""


def scan_line(image: Image, title: str, modality: str | None) -> None:
    """What is on the screen, in one line, with nothing that names a person."""
    parts = [
        MODALITIES[modality].words if modality else "Modality not chosen",
        f"{image.shape[1]} x {image.shape[0]}",
        "color" if image.color else f"{image.bits} bit",
    ]
    if image.frames > 1:
        parts.append(f"frame {image.frame + 1}/{image.frames}")
    if image.spacing and image.spacing_kind != "aspect":
        parts.append(f"{words.number(image.spacing[1])} mm per pixel")
    if image.laterality:
        parts.append({"L": "left", "R": "right"}.get(image.laterality, words.safe(image.laterality)))
    if image.removed:
        parts.append("names removed")
    if image.burned_in:
        parts.append("text may be burned into the pixels")
    rest = "".join(f" · {words.safe(part)}" for part in parts)
    st.html(f'<div class="kd-line"><span class="kd-strong">{words.safe(title)}</span>{rest}</div>')


def result(reading: Reading, bundle: Bundle) -> None:
    """The whole answer, under the panes; what a reader must not overlook stands first."""
    if reading.eligibility.confirmed:
        unsuited(reading)
    loud = not reading.agree or bool(not_ruled_out(reading, bundle))
    if loud:
        verdict(reading, bundle, loud)
    both(reading, bundle)
    st.divider()
    if not loud:
        verdict(reading, bundle, loud)
    measured(reading, bundle)
    meaning(bundle)


def unsuited(reading: Reading) -> None:
    """What was confirmed by the person stays in sight: the numbers below look as sure as any others."""
    reasons = " ".join(words.plain(reason) for reason in reading.eligibility.reasons)
    said = f"Read because you confirmed it. {reasons} Do not rely on either answer."
    st.warning(said, icon=":material/report:")


def verdict(reading: Reading, bundle: Bundle, loud: bool) -> None:
    """Agreement or not, and whether something that must not be missed is still possible."""
    teacher, student = (words.safe(bundle.words(o.prediction)) for o in (reading.teacher, reading.student))
    said = f"They agree: {teacher}."
    if not reading.agree:
        said = f"They disagree: teacher {teacher}, student {student}. Treat both with care."
    rest = " ".join(filter(None, (words.safe(not_ruled_out(reading, bundle)), _alike(reading))))
    st.html(f'<div class="kd-verdict{" differ" if loud else ""}" role="status">{said} {rest}</div>')


def not_ruled_out(reading: Reading, bundle: Bundle) -> str:
    """The classes that must not be missed and that a model holds possible though it answers another, as sentences."""
    open_to: dict[str, list[str]] = {
        "Neither rules": [],
        "The teacher does not rule": [],
        "The student does not rule": [],
    }
    for entry in bundle.card.classes:
        name = entry["name"]
        held = [o.role for o in (reading.teacher, reading.student) if o.prediction != name and name in o.prediction_set]
        if entry.get("must_not_miss") and held:
            who = "Neither rules" if len(held) == len(ROLES) else f"The {held[0]} does not rule"
            open_to[who].append(entry["words"])
    return " ".join(f"{who} out {words.listed(names)}." for who, names in open_to.items() if names)


def both(reading: Reading, bundle: Bundle) -> None:
    """The two opinions side by side, under their panes."""
    for column, role in zip(st.columns(2, gap="medium"), ROLES, strict=True):
        column.html(opinion(getattr(reading, role), bundle))


def opinion(said: Opinion, bundle: Bundle) -> str:
    """One model's answer as HTML: the class, a bar per class with its number, the set, what it cost."""
    ranked = sorted(said.probabilities.items(), key=lambda pair: -pair[1])
    rows = [_row(bundle, name, p, name == said.prediction, name in said.prediction_set) for name, p in ranked[:SHOWN]]
    if len(ranked) == SHOWN + 1:
        rows.append(_row(bundle, *ranked[-1], False, ranked[-1][0] in said.prediction_set))
    elif len(ranked) > SHOWN:
        rest = sum(p for _, p in ranked[SHOWN:])
        rows.append(f'<div class="kd-facts">{len(ranked) - SHOWN} other classes together {words.percent(rest)}</div>')
    top = (
        f'<div class="kd-top"><span class="kd-class">{words.safe(bundle.words(said.prediction))}</span>'
        f'<span class="kd-p">{words.percent(said.confidence)}</span></div>'
    )
    opening = f'<section class="kd-opinion {said.role}" aria-label="{said.role}">'
    return f"{opening}{top}{''.join(rows)}{_facts(said, bundle)}</section>"


def measured(reading: Reading, bundle: Bundle) -> None:
    """Size and speed, measured with this very scan, and what the card says of both on held-back images."""
    faster = reading.times_faster
    speed = f"{words.times(faster)} faster" if faster >= 1 else f"{words.times(1 / faster)} slower"
    st.html(
        f'<div class="kd-line"><span class="kd-strong">Student: {words.times(reading.times_smaller)} smaller, '
        f"{speed}</span>, measured on this machine just now.</div>"
    )
    known = f"It knows these {len(bundle.classes)} classes only: whatever a scan shows is put into one of them."
    st.html(f'<div class="kd-line">{_tested_on(bundle)}<br>{known}</div>')


def meaning(bundle: Bundle) -> None:
    """What the numbers mean, for whoever asks."""
    alpha = bundle.card.conformal.get("alpha", 0.1)
    with st.expander("What this means"):
        st.markdown(
            "- **Percent**: each model's own probability, calibrated on held-back images; both can be wrong together.\n"
            f"- **Set**: the smallest group of classes that held the true one in about {words.percent(1 - alpha)} of "
            "held-back images like these. One name means sure, several mean undecided.\n"
            "- **Heat map**: which parts pushed the answer, coarse by nature. It shows where a model looked, not where "
            "disease is.\n"
            "- **Balanced accuracy**: the mean share of right answers per class, with its 95 % interval."
        )
        st.markdown("**What this bundle cannot do**")
        st.markdown("\n".join(f"- {words.plain(line)}" for line in bundle.card.limits))


def _row(bundle: Bundle, name: str, p: float, first: bool, inside: bool) -> str:
    entry = next(c for c in bundle.card.classes if c["name"] == name)
    alarm = '<span class="kd-alarm">must not miss</span>' if entry.get("must_not_miss") and inside else ""
    width = max(0.0, min(100.0, p * 100)) if math.isfinite(p) else 0.0
    return (
        f'<div class="kd-row{" first" if first else ""}">'
        f'<span class="kd-name" title="{words.safe(entry["words"])}">{words.safe(entry["words"])}{alarm}</span>'
        f'<span class="kd-track" aria-hidden="true"><i style="width:{width:.1f}%"></i></span>'
        f'<span class="kd-num">{words.percent(p)}</span></div>'
    )


def _facts(said: Opinion, bundle: Bundle) -> str:
    level = 1 - bundle.card.conformal.get("alpha", 0.1)
    names = words.listed([words.safe(bundle.words(name)) for name in said.prediction_set])
    cost = " · ".join(
        (
            words.safe(words.architecture(said.architecture)),
            words.megabytes(said.bytes),
            words.milliseconds(said.seconds),
        )
    )
    note = f"<br>{words.safe(said.heat_map.note)}" if said.heat_map and said.heat_map.note else ""
    return f'<div class="kd-facts">Set at {words.percent(level)}: {names}<br>{cost}{note}</div>'


def _alike(reading: Reading) -> str:
    """How alike the two maps are, in words and as the correlation it is."""
    r = reading.map_similarity
    if r is None:
        return ""
    how = (
        "look at the same place"
        if r >= 0.7
        else "look at partly the same place"
        if r >= 0.3
        else "look at different places"
    )
    return f"Their maps {how} (correlation {r:.2f})."


def _tested_on(bundle: Bundle) -> str:
    figures = bundle.card.metrics
    both_roles = [figures.get(role, {}).get("balanced_accuracy") for role in ROLES]
    if not all(both_roles):
        return "The card of this bundle holds no test figures."
    teacher, student = (words.interval(figure) for figure in both_roles if figure)
    n = words.safe(figures.get("n", "an unstated number of"))
    return f"Tested on {n} held-back images: balanced accuracy teacher {teacher}, student {student}."


def label(image: Image, modality: str | None) -> str:
    """The scan for someone who hears the page."""
    kind = MODALITIES[modality].words if modality else "Scan"
    return f"{kind}, {image.shape[1]} by {image.shape[0]} pixels, frame {image.frame + 1} of {image.frames}"
