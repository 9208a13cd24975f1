"""The frame of every page: the style sheet, the one line about what this is for, and the colors of charts."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

ASSETS = Path(__file__).resolve().parents[2] / "assets"
PURPOSE = "Research and teaching use only"

COLORS = {
    "dark": {"teacher": "#5B8DEF", "student": "#E0A33A", "alone": "#8C949C", "text": "#E3E5E7", "line": "#2C3136"},
    "light": {"teacher": "#2F5FC4", "student": "#A86A00", "alone": "#6B7278", "text": "#1D2226", "line": "#D5D5CE"},
}
"""The same values as in .streamlit/config.toml and assets/theme.css; a test holds the three together."""


_choice = st.components.v2.component("kdlight_theme", js=(Path(__file__).parent / "theme_choice.js").read_text("utf-8"))


def kind() -> str:
    """dark or light, as the person sees it now; dark where the browser has not said."""
    return "light" if st.context.theme.type == "light" else "dark"


def color(name: str) -> str:
    """teacher, student, alone, text or line as #RRGGBB in the present theme."""
    return COLORS[kind()][name]


def dress() -> None:
    """Put the style sheet and the purpose line on the page; once per run, before the page's own elements."""
    st.html(f"<style>{_css()}</style>")
    st.html(f'<div class="kd-purpose">{PURPOSE}</div>')
    with st.container(key="kd_unseen"):
        _choice(key="theme", data={})


def heading(title: str, words: str) -> None:
    """A page's name and what it is for, in one line each."""
    st.title(title, anchor=False)
    st.html(f'<div class="kd-line">{words}</div>')


@st.cache_data(show_spinner=False)
def _css() -> str:
    return (ASSETS / "theme.css").read_text(encoding="utf-8")
