"""Widgets whose value stands in a plain session entry under `key`: a widget's own is lost where it is not drawn.

Where a function takes `of`, another value of it is another widget, which starts from what is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import streamlit as st

from kdlight.contracts.modality import MODALITIES

N = TypeVar("N", int, float)


def text(label: str, key: str, value: str = "", place: Any = st, **more: Any) -> str:
    """A line of text, without the spaces around it."""
    return str(place.text_input(label, _stored(key, value), **_storing(key), **more)).strip()


def number(label: str, key: str, value: N, low: float | None, place: Any = st, **more: Any) -> N:
    """A number of the type of `value`, not below low."""
    return type(value)(place.number_input(label, low, value=_stored(key, value), **_storing(key), **more))


def slide(label: str, key: str, value: float, low: float, high: float, **more: Any) -> float:
    """A slider from low to high, in hundredths of the way."""
    step = (high - low) / 100
    return float(st.slider(label, float(low), float(high), _stored(key, value), step, **_storing(key), **more))


def toggle(label: str, key: str, value: bool = False, **more: Any) -> bool:
    return bool(st.toggle(label, _stored(key, value), **_storing(key), **more))


def select(
    label: str, key: str, options: Sequence[Any], default: Any = None, of: str = "", place: Any = st, **more: Any
) -> Any:
    """One of the options, `default` until one of them is chosen; with accept_new_options also what the person types."""
    chosen, offered = _stored(key, default), list(options)
    if chosen not in offered and more.get("accept_new_options"):
        offered.append(chosen)
    elif chosen not in offered:
        chosen = default
    index = offered.index(chosen) if chosen in offered else None
    return place.selectbox(label, offered, index, **_storing(key, of), **more)


def modality(label: str, key: str, default: str | None = None, of: str = "") -> str | None:
    """One of the modalities, by its words."""
    names = list(MODALITIES)
    shown: Any = {"format_func": lambda name: MODALITIES[name].words, "placeholder": "Choose"}
    chosen: str | None = select(label, key, names, default, of, **shown)
    return chosen


def step(label: str, key: str, options: Sequence[int], value: int, place: Any = st, **more: Any) -> int:
    """One of the options, along a slider."""
    stored = _stored(key, value)
    return int(place.select_slider(label, options, stored if stored in options else value, **_storing(key), **more))


def segment(label: str, key: str, options: Sequence[str], **more: Any) -> str:
    """One of a row of options, the first at first."""
    stored = _stored(key, options[0])
    default = stored if stored in options else options[0]
    return str(st.segmented_control(label, options, default=default, required=True, **_storing(key), **more))


def several(label: str, key: str, options: Sequence[str], **more: Any) -> list[str]:
    """Any of a row of options, none at first."""
    stored = [option for option in _stored(key, []) if option in options]
    return list(st.pills(label, options, selection_mode="multi", default=stored, **_storing(key), **more))


def _stored(key: str, value: Any) -> Any:
    return st.session_state.get(key, value)


def _storing(key: str, of: str = "") -> dict[str, Any]:
    widget = f"{key} widget {of}".strip()
    return {"key": widget, "on_change": _store, "args": [key, widget]}


def _store(key: str, widget: str) -> None:
    st.session_state[key] = st.session_state[widget]
