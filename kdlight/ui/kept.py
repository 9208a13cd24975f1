"""Widgets whose value is kept in a plain session entry: a widget's own is lost when its page is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st


def select(label: str, options: Sequence[Any], name: str, default: Any = None, of: str = "", **more: Any) -> Any:
    """A select box whose choice is kept under `name`; `default` stands until there is one that fits.

    `of`: what the choice belongs to. For something else it is another widget, which starts from what is kept.
    """
    chosen = st.session_state.get(name, default)
    if chosen not in options:
        chosen = default
    index = options.index(chosen) if chosen in options else None
    widget = f"{name} widget {of}"
    return st.selectbox(label, options, index=index, key=widget, on_change=_keep, args=[name, widget], **more)


def segment(label: str, options: Sequence[str], name: str) -> str:
    """A row of choices, one of them always taken, kept under `name`; the first at first."""
    widget, chosen = f"{name} widget", st.session_state.get(name)
    default = chosen if chosen in options else options[0]
    more: dict[str, Any] = {"key": widget, "on_change": _keep, "args": [name, widget], "width": "stretch"}
    return str(st.segmented_control(label, options, default=default, required=True, **more))


def toggle(label: str, name: str) -> bool:
    """A switch that is kept under `name`, off at first."""
    widget = f"{name} widget"
    return st.toggle(label, st.session_state.get(name, False), key=widget, on_change=_keep, args=[name, widget])


def text(label: str, name: str, **more: Any) -> str:
    """A line of text that is kept under `name`, empty at first."""
    widget = f"{name} widget"
    more |= {"key": widget, "on_change": _keep, "args": [name, widget]}
    return str(st.text_input(label, st.session_state.get(name, ""), **more))


def _keep(name: str, widget: str) -> None:
    st.session_state[name] = st.session_state[widget]
