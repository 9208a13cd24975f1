"""The frame of every page: the style sheet, the one line about what this is for, and the colors of charts."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import PIL.Image
import streamlit as st

from kdlight.contracts.reading import ROLES
from kdlight.ui.markup import Markup, joined, put, write

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
    put(write("<style>{}</style>", Markup(_css())))
    put(write('<div class="kd-purpose">{}</div>', PURPOSE))
    with st.container(key="kd_unseen"):
        _choice(key="theme", data={})


def heading(title: str, words: str) -> None:
    """A page's name and what it is for, in one line each."""
    st.title(title, anchor=False)
    line(words)


def line(text: str) -> None:
    """One quiet line of text; of HTML where it is Markup."""
    put(write('<div class="kd-line">{}</div>', text))


def png_address(picture: PIL.Image.Image) -> str:
    """A picture as an address that holds it: a file by the page's side could be gone before it is loaded."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def head(text: str = "", model: str = "") -> Markup:
    """The head of a column of `table`, of teacher and student in their colors."""
    if not text:
        return write("<th></th>")
    if model not in ROLES:
        return write('<th scope="col">{}</th>', text)
    return write('<th class="{}" scope="col">{}</th>', model, text)


def table(heads: Sequence[Markup], rows: Iterable[Sequence[str]], row_heads: int = 1) -> Markup:
    """A table that scrolls where the page is narrow. heads: of `head`; rows: texts, the first `row_heads` are heads."""
    body = joined(
        write(
            "<tr>{}{}</tr>",
            joined(write('<th scope="row">{}</th>', text) for text in row[:row_heads]),
            joined(write("<td>{}</td>", text) for text in row[row_heads:]),
        )
        for row in rows
    )
    inside = write("<thead><tr>{}</tr></thead><tbody>{}</tbody>", joined(heads), body)
    return write('<div class="kd-scroll"><table class="kd-table">{}</table></div>', inside)


@st.cache_data(show_spinner=False)
def _css() -> str:
    return (ASSETS / "theme.css").read_text(encoding="utf-8")
