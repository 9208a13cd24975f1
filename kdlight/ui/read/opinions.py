"""Both opinions of a reading in words and bars, and what the numbers mean."""

from __future__ import annotations

import math

import streamlit as st

from kdlight.bundle import Bundle
from kdlight.reading import ROLES, Opinion, Reading
from kdlight.ui import theme, words
from kdlight.ui.read import speed

SHOWN = 7
"""Classes with a bar of their own; the rest is summed up in one line."""


def result(reading: Reading, bundle: Bundle) -> None:
    """Under the panes: both answers with their bars, what the student saves, and what the numbers mean."""
    both(reading, bundle)
    st.divider()
    speed.draw(bundle)
    known = f"It knows these {len(bundle.classes)} classes only: whatever a scan shows is put into one of them."
    theme.line(known)
    meaning(reading, bundle)


def both(reading: Reading, bundle: Bundle) -> None:
    """The two opinions side by side, under their panes."""
    for column, role in zip(st.columns(2, gap="medium"), ROLES, strict=True):
        column.html(opinion_html(getattr(reading, role), bundle, reading.level))


def opinion_html(opinion: Opinion, bundle: Bundle, level: float) -> str:
    """One model's answer as HTML: the class, a bar per class with its number, the set, what it cost."""
    ranked = sorted(opinion.probabilities.items(), key=lambda pair: -pair[1])
    shown = len(ranked) if len(ranked) == SHOWN + 1 else SHOWN
    rows = [_row(bundle, opinion, name) for name, _ in ranked[:shown]]
    if len(ranked) > shown:
        rest = sum(p for _, p in ranked[shown:])
        rows.append(f'<div class="kd-facts">{len(ranked) - shown} other classes together {words.percent(rest)}</div>')
    top = (
        f'<div class="kd-top"><span class="kd-class">{words.safe(bundle.words(opinion.prediction))}</span>'
        f'<span class="kd-p">{words.percent(opinion.confidence)}</span></div>'
    )
    opening = f'<section class="kd-opinion {opinion.role}" aria-label="{opinion.role}">'
    return f"{opening}{top}{''.join(rows)}{_facts(opinion, bundle, level)}</section>"


def meaning(reading: Reading, bundle: Bundle) -> None:
    """What the numbers mean, for whoever asks."""
    leads = ", ".join(f"{o.role} {words.number(100 * o.margin, 2)} points" for o in reading.opinions)
    with st.expander("What this means"):
        st.markdown(
            "- **Percent**: each model's own probability, calibrated on held-back images; both can be wrong together.\n"
            f"- **Set**: the smallest group of classes that held the true one in about {words.percent(reading.level)} "
            "of held-back images like these. What is in it cannot be ruled out at that level.\n"
            f"- **Undecided**: the first class leads the second by less than twice the calibration error ({leads}), so "
            "that the order of the two cannot be relied on.\n"
            "- **Heat map**: which parts pushed the answer, coarse by nature. It shows where a model looked, not where "
            "disease is.\n"
            "- **Balanced accuracy**: the mean share of right answers per class, with its 95 % interval."
        )
        st.markdown("**What this bundle cannot do**")
        st.markdown("\n".join(f"- {words.plain(line)}" for line in bundle.card.limits))


def _row(bundle: Bundle, opinion: Opinion, name: str) -> str:
    p, first, inside = opinion.probabilities[name], name == opinion.prediction, name in opinion.prediction_set
    entry = next(c for c in bundle.card.classes if c.name == name)
    alarm = ' <span class="kd-alarm">must not miss</span>' if entry.must_not_miss and inside else ""
    width = max(0.0, min(100.0, p * 100)) if math.isfinite(p) else 0.0
    return (
        f'<div class="kd-row{" first" if first else ""}">'
        f'<span class="kd-name" title="{words.safe(entry.words)}">{words.safe(entry.words)}{alarm}</span>'
        f'<span class="kd-track" aria-hidden="true"><i style="width:{width:.1f}%"></i></span>'
        f'<span class="kd-num">{words.percent(p)}</span></div>'
    )


def _facts(opinion: Opinion, bundle: Bundle, level: float) -> str:
    names = words.listed([words.safe(bundle.words(name)) for name in opinion.prediction_set])
    cost = f"{words.safe(words.architecture(opinion.architecture))} · {words.megabytes(opinion.bytes)}"
    about_map = " ".join(filter(None, (opinion.heat_map.note, opinion.heat_map.grain))) if opinion.heat_map else ""
    note = f"<br>{words.safe(about_map)}" if about_map else ""
    return f'<div class="kd-facts">Set at {words.percent(level)}: {names}<br>{cost}{note}</div>'
