"""The sensitivity that a person sets for what must not be missed: its thresholds in the reading, and what it costs."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from kdlight.bundle import Card
from kdlight.contracts.reading import ROLES, Reading
from kdlight.reports import measured
from kdlight.ui import documents, widgets, words

KEY = "sensitivity"
"""Session entry: the share that the person chose; None for what the card says of each class."""


def applied(reading: Reading, card: Card) -> Reading:
    """The reading with the thresholds of the chosen sensitivity; no model is asked again."""
    chosen = st.session_state.get(KEY)
    if chosen is None:
        return reading
    both = {role: replace(getattr(reading, role), thresholds=card.thresholds(role, chosen)) for role in ROLES}
    return replace(reading, sensitivity=card.sensitivities(chosen), **both)


def draw(card: Card) -> None:
    """The choice and what it costs; nothing for a card without thresholds."""
    if not card.operating:
        return
    aims = sorted({point.aim for points in card.operating.values() for point in points.teacher})
    with st.expander(measured.MUST_NOT_MISS):
        chosen = widgets.select(
            "Share of such images to find",
            KEY,
            [None, *aims],
            format_func=lambda aim: "as the card says" if aim is None else words.percent(aim),
            help="A higher one misses fewer and calls more images that are something else.",
        )
        for section in measured.operating(card, chosen):
            documents.draw_each(section.blocks)
