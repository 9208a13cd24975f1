"""The bar that a pair must clear on a person's own cases before it is used: typed, as TOML, declared once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import AfterValidator, BeforeValidator

from kdlight.contracts.options import Option, OptionError, Settings
from kdlight.contracts.reading import ROLES, Role

ALL = "all"
"""Stands for all cases in place of a class."""


NONE: dict[str, float] = {}


class BarError(OptionError):
    """A bar that nothing can be held against."""


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise BarError(f"is {value!r}; a share above 0 and below 1 was expected, such as 0.9. Change it.")
    return float(value)


def _of_classes(shares: Mapping[str, float]) -> Mapping[str, float]:
    if ALL in shares:
        raise BarError("is a class's; the name of a class was expected. Name one.", ALL)
    return shares


Shares = dict[str, Annotated[float, BeforeValidator(_share)]]
OfClasses = Annotated[Shares, AfterValidator(_of_classes)]


class Bar(Settings):
    """What is not named is not tested. A share is above 0 and below 1."""

    sensitivity: Annotated[OfClasses, Option("Least share of the cases of a class that are found.")] = NONE
    specificity: Annotated[OfClasses, Option("Least share of the other cases that are not called the class.")] = NONE
    coverage: Annotated[
        Shares, Option("Least share of cases, all or of a class, whose prediction set holds the truth.")
    ] = NONE
    answered: Annotated[
        Shares, Option("Least share of cases, all or of a class, that the bundle reads and does not withhold.")
    ] = NONE
    difference: Annotated[
        Shares, Option("Largest share of right answers, of all cases or of a class, that the student lost, net.")
    ] = NONE
    calibration: Annotated[
        float | None,
        BeforeValidator(lambda value: None if value is None else _share(value)),
        Option("Largest gap between the mean probability of the answers and the share that is right."),
    ] = None
    models: Annotated[Literal["student", "teacher", "both"], Option("Whose answers are held against it.")] = "student"
    rule: Annotated[
        Literal["answer", "possible"],
        Option("When a class is found: it is the answer, or the answer or not ruled out at its threshold."),
    ] = "answer"
    confidence: Annotated[float, Option("Of each line.", ge=0.8, lt=1)] = 0.95
    looks: Annotated[
        int,
        Option("Looks that are planned while cases are gathered; each then has its part of the error.", ge=1, le=20),
    ] = 1

    @property
    def roles(self) -> tuple[Role, ...]:
        return tuple(role for role in ROLES if self.models in (role, "both"))

    @property
    def error(self) -> float:
        """Of one line at one look."""
        return (1 - self.confidence) / self.looks

    def to_toml(self) -> str:
        """As `read_bar` reads it back."""
        return tomli_w.dumps({name: value for name, value in self.model_dump().items() if value not in (None, {})})


def read_bar(path: str | Path) -> Bar:
    """Raises BarError for what is no TOML, OptionError for an unknown key or a value out of range, OSError."""
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BarError(f"{Path(path).name} is not valid TOML ({error}). Correct that line.") from error
    return Bar(**tables)


def changed_bar(bar: Bar, changes: Sequence[str]) -> Bar:
    """With `key=value` changes in TOML, such as sensitivity.malignant=0.95. Raises as `read_bar` does."""
    tables = bar.model_dump()
    for text in changes:
        try:
            given = tomllib.loads(text)
        except (ValueError, RecursionError):
            expected = "key = value was expected, such as sensitivity.malignant=0.95 or models='both'"
            raise BarError(f"{text!r} is no change of the bar; {expected}. Correct it.") from None
        for key, value in given.items():
            merged = isinstance(value, dict) and isinstance(tables.get(key), dict)
            tables[key] = {**tables[key], **value} if merged else value
    return Bar(**tables)
