"""What an answer is worth where the disease is as frequent as the person says: predictive values, one click away."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from kdlight.bundle import Bundle
from kdlight.bundle.card import Metrics
from kdlight.contracts.reading import ROLES, Reading, Role
from kdlight.metrics.predictive import Facts, facts
from kdlight.ui import theme, widgets, words
from kdlight.ui.markup import Markup, put

FIGURES: Mapping[str, str] = {
    "sensitivity": "Sensitivity: of those who have it, found",
    "specificity": "Specificity: of those who have it not, left alone",
    "ppv": "PPV: of those called it, have it",
    "npv": "NPV: of those not called it, have it not",
}
FIRST = 1.0
"""Percent that stands there before the person sets one."""


def draw(reading: Reading, bundle: Bundle) -> None:
    """Both models' figures for one class, that of the student's answer at first."""
    metrics = bundle.card.metrics
    with st.expander("What an answer is worth where you work"):
        left, right = st.columns(2, gap="medium")
        first = bundle.classes.index(reading.student.prediction)
        name = left.selectbox("Answer", bundle.classes, first, format_func=bundle.words, key=f"worth {first}")
        share = widgets.number(
            "People who have it, in percent",
            f"prevalence {bundle.card.id} {bundle.classes.index(name)}",
            FIRST,
            0.001,
            right,
            max_value=99.0,
            step=0.5,
            format="%g",
            help="Of the people whose scans are read where you work. The test set's share is no guide: sets are "
            "collected, not met.",
        )
        put(table({role: facts(metrics.of(role), name, share / 100) for role in ROLES}))
        theme.line(source(bundle, metrics, name))


def table(both: Mapping[Role, Facts]) -> Markup:
    """A row per figure, a column per model, as HTML."""
    heads = [theme.head(), *(theme.head(role.capitalize(), role) for role in both)]
    rows = [[title, *(words.interval(getattr(of, name)) for of in both.values())] for name, title in FIGURES.items()]
    return theme.table(heads, rows)


def source(bundle: Bundle, metrics: Metrics, name: str) -> str:
    """Which images the figures rest on."""
    n = metrics.student.counts.get(name)
    of = "" if n is None else f", {n} of them {bundle.words(name)}"
    return (
        f"Measured on {metrics.n} images of {bundle.card.data.name}, split {metrics.split}{of}, where a model answers "
        f"its most probable class; 95 % intervals in brackets. People elsewhere may differ from those images."
    )
