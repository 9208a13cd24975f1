"""The options of a method as controls, each drawn as it is declared."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from kdlight.contracts.options import Declared, declared
from kdlight.ui import widgets


def draw(options: Sequence[Declared], begin: Mapping[str, Any], of: str) -> dict[str, Any]:
    """One control per option, and their values by name.

    begin: values that go before the defaults; of: what fills the form, another one of which starts the widgets anew.
    """
    values: dict[str, Any] = {}
    columns = st.columns(2)
    for number, option in enumerate(options):
        with columns[number % len(columns)]:
            values[option.name] = _control(option, begin.get(option.name, option.default), f"{option.name} {of}")
    return values


def help_of(section: Callable[..., Any], name: str) -> str:
    """The line of help of one option of a recipe's section."""
    return next(option.help for option in declared(section) if option.name == name)


def explained(option: Declared) -> str:
    """What an option does, then the numbers that it takes."""
    words = option.range
    return f"{option.help}  \n*{words[:1].upper()}{words[1:]}.*" if words else option.help


def _control(option: Declared, value: Any, key: str) -> Any:
    """A switch, a choice, a slider where a number has both ends, else a field."""
    label, shown = option.name.replace("_", " "), explained(option)
    if option.kind == "bool":
        return widgets.toggle(label, key, value, help=shown)
    if option.choices:
        return widgets.select(label, key, option.choices, value, help=shown)
    low, high, step = reach(option, value)
    if option.kind == "float" and (low, high) == (option.low, option.high) and low is not None and high is not None:
        return widgets.slide(label, key, value, low, high, help=shown)
    digits = "%d" if option.kind == "int" else "%g"
    return widgets.number(label, key, value, low, max_value=high, step=step, format=digits, help=shown)


def reach(option: Declared, value: float) -> tuple[float | None, float | None, float]:
    """Least and largest value and step of a field, all of the value's type; `value` itself is always within.

    A float moves by half its decade (4 by 0.5, 0.07 by 0.005), a whole number by a quarter. An end that the option
    must not take is a tenth of a step away, for whole numbers one.
    """
    whole, kind = option.kind == "int", type(value)
    step = max(1, int(value) // 4) if whole else 0.5 * 10 ** math.floor(math.log10(abs(value))) if value else 0.5
    inset = 1 if whole else step / 10
    low, high = option.low, option.high
    least = None if low is None else min(value, kind(low + inset * option.open_low))
    most = None if high is None else max(value, kind(high - inset * option.open_high))
    return least, most, step
