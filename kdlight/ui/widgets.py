"""The widgets of a form that is left and found again: each value is kept in a plain session entry beside its widget's.

A widget's own entry goes when it is not drawn: on another page, or where a run is shown in place of the form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st


def text(place: Any, label: str, value: str, key: str, **more: Any) -> str:
    """A line of text, without the spaces around it."""
    return str(place.text_input(label, _stored(key, value), **_storing(key), **more)).strip()


def whole(place: Any, label: str, low: int, high: int, value: int, key: str, **more: Any) -> int:
    """A whole number from low to high."""
    return int(place.number_input(label, low, high, _stored(key, value), **_storing(key), **more))


def number(place: Any, label: str, low: float | None, value: float, key: str, **more: Any) -> float:
    """A number of the type of `value`, not below low."""
    return type(value)(place.number_input(label, low, value=_stored(key, value), **_storing(key), **more))


def slide(place: Any, label: str, low: float, high: float, value: float, key: str, **more: Any) -> float:
    """A slider from low to high, in hundredths of the way."""
    step = (high - low) / 100
    return float(place.slider(label, float(low), float(high), _stored(key, value), step, **_storing(key), **more))


def switch(place: Any, label: str, value: bool, key: str, **more: Any) -> bool:
    return bool(place.toggle(label, _stored(key, value), **_storing(key), **more))


def choice(place: Any, label: str, options: Sequence[str], value: str, key: str, **more: Any) -> str:
    """One of the options; with accept_new_options also what the person types."""
    stored = _stored(key, value)
    free = more.get("accept_new_options", False)
    listed = list(options) if stored in options or not free else [*options, stored]
    index = listed.index(stored) if stored in listed else listed.index(value)
    return str(place.selectbox(label, listed, index, **_storing(key), **more))


def step(place: Any, label: str, options: Sequence[int], value: int, key: str, **more: Any) -> int:
    """One of the options, along a slider."""
    stored = _stored(key, value)
    return int(place.select_slider(label, options, stored if stored in options else value, **_storing(key), **more))


def segment(place: Any, label: str, options: Sequence[str], key: str, **more: Any) -> str:
    """One of a row of options, the first at first."""
    chosen = place.segmented_control(
        label, options, default=_stored(key, options[0]), required=True, **_storing(key), **more
    )
    return str(chosen)


def several(place: Any, label: str, options: Sequence[str], key: str, **more: Any) -> list[str]:
    """Any of a row of options, none at first."""
    stored = [option for option in _stored(key, []) if option in options]
    return list(place.pills(label, options, selection_mode="multi", default=stored, **_storing(key), **more))


def _entry(key: str) -> str:
    return f"kept {key}"


def _stored(key: str, value: Any) -> Any:
    return st.session_state.get(_entry(key), value)


def _storing(key: str) -> dict[str, Any]:
    store: Callable[[str], None] = _store
    return {"key": key, "on_change": store, "args": [key]}


def _store(key: str) -> None:
    st.session_state[_entry(key)] = st.session_state[key]
