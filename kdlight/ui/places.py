"""Which files and folders of this machine a page may name: those below the folders that whoever started the app named.

The command line is its user's own and takes any path.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import streamlit as st

from kdlight.storage import CONFINED
from kdlight.ui import widgets, words

DATA = "KDLIGHT_DATA"
LOCAL = ("127.0.0.1", "localhost", "::1")


class PlaceError(ValueError):
    """A page named a place that is not open to it; the message is the same whether or not anything is there."""


def confine() -> None:
    """From now on no table and no link of a set leads out of it, in this process and all that it starts."""
    os.environ[CONFINED] = "1"


def roots() -> list[Path]:
    """$KDLIGHT_DATA's folders; without it the user's own home where only this machine can ask, else none."""
    named = [Path(text).expanduser() for text in os.environ.get(DATA, "").split(os.pathsep) if text]
    if not named and st.get_option("server.address") in LOCAL:
        named = [Path.home()]
    return [folder.resolve() for folder in named]


def resolve(text: str) -> str:
    """The place that a person means, links and ~ followed; PATH#TASK keeps its task. Raises PlaceError."""
    try:
        path, task = Path(text).expanduser(), ""
        if "#" in path.name and not path.exists():
            name, _, task = path.name.rpartition("#")
            path, task = path.with_name(name), f"#{task}"
        place = path.resolve()
    except (OSError, RuntimeError, ValueError):
        raise PlaceError("This is no path; the path of a file or folder was expected.") from None
    opened = roots()
    if not any(place.is_relative_to(root) for root in opened):
        below = f"only below {words.listed([str(root) for root in opened])}" if opened else "it may look nowhere"
        raise PlaceError(f"The app may not look there; {below}. Whoever starts it names folders in {DATA}.")
    return f"{place}{task}"


def field(label: str, key: str, value: str = "", place: Any = st, **more: Any) -> str | None:
    """A field for a path: resolved, empty where none is named, None where it is refused, which is then said."""
    text = widgets.text(label, key, value, place, **more)
    try:
        return resolve(text) if text else ""
    except PlaceError as error:
        place.error(words.plain(error), icon=":material/block:")
        return None
