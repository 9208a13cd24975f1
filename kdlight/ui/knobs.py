"""The hyper-parameters of a method as controls, each with the reach that its own line of help says."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import streamlit as st

from kdlight.ui import form, terms


def draw(method: str, described: Mapping[str, Any], begin: Mapping[str, Any], of: str) -> dict[str, Any]:
    """One control per hyper-parameter of a method, and their values by name.

    described: the method's knobs (defaults) and help (lines) as the catalog gives them; begin: values that go before
    the defaults; of: the recipe that fills the form, another one of which starts the widgets anew.
    """
    found: dict[str, Any] = {}
    columns = st.columns(2)
    for number, (name, default) in enumerate(described["knobs"].items()):
        line = described["help"].get(name)
        with columns[number % len(columns)]:
            shown = terms.explained(method, name, line)
            found[name] = _knob(name, begin.get(name, default), line, f"{method} {name} {of}", shown)
    return found


def _knob(name: str, value: Any, line: str | None, key: str, shown: str | None) -> Any:
    """A switch, a slider for what goes from 0 to 1, a number field, or a choice among the words of its line."""
    label = name.replace("_", " ")
    if isinstance(value, bool):
        return form.switch(st, label, value, key, help=shown)
    if isinstance(value, float) and "0 to 1" in (line or ""):
        return form.share(st, label, value, key, help=shown)
    if isinstance(value, (int, float)):
        least, step = reach(value, line or "")
        digits = "%d" if isinstance(value, int) else "%g"
        return form.number(st, label, least, value, key, step=step, format=digits, help=shown)
    known = choices(line or "")
    return form.choice(st, label, known, value, key, help=shown) if value in known else value


def choices(line: str) -> list[str]:
    """The words of a line such as "reuse, retrain or end_to_end."."""
    return [word for word in re.split(r",\s*|\s+or\s+", line.rstrip(".")) if word]


def reach(value: float, line: str) -> tuple[float | None, float]:
    """Least value and step of a knob: the least from the words of its line, the step from the size of its value.

    Both have the value's type. A float moves by half its decade (4 by 0.5, 0.07 by 0.005), a whole number by a quarter.
    """
    whole = isinstance(value, int)
    step = max(1, value // 4) if whole else 0.5 * 10 ** math.floor(math.log10(abs(value))) if value else 0.5
    lows = {"1 or above": 1, "0 or above": 0, "above 0": 1 if whole else step / 10}
    return next((type(value)(low) for said, low in lows.items() if said in line), None), step
