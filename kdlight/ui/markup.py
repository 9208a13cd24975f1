"""The one place that writes HTML: whatever is filled into a template is escaped, unless it was written here itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import streamlit as st
from markupsafe import Markup

__all__ = ["Markup", "joined", "put", "write"]


def write(template: str, *parts: object, **named: object) -> Markup:
    """HTML from a template that stands in the source, filled as by str.format."""
    return Markup(template).format(*parts, **named)


def joined(parts: Iterable[object], between: str = "") -> Markup:
    """Parts one after the other, escaped where they are plain text."""
    return Markup(between).join(parts)  # type: ignore[arg-type]


def put(content: Markup, place: Any = st) -> None:
    """Draw it. Raises TypeError for a text that was not written here."""
    if not isinstance(content, Markup):
        raise TypeError("Only kdlight.ui.markup writes HTML.")
    place.html(str.__str__(content))
