"""Options: declared once as annotated types, checked once, listed for pages, documents and error messages.

    alpha: Annotated[float, Option("Weight of the teacher against the labels.", ge=0, le=1)] = 0.7

stands for a keyword of a function, an attribute of a class or a field of a `Settings` model.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal, Self, get_args, get_origin, get_type_hints

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

Kind = Literal["bool", "int", "float", "str", "list", "table"]
Value = bool | int | float | str
"""What an option holds, but for lists and tables."""
Texts = Annotated[tuple[str, ...], Field(strict=False)]
"""A list of texts, as TOML and JSON hand it over."""
NOUNS: dict[Kind, str] = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text in quotes",
    "list": 'a list of texts such as ["..."]',
    "table": "a section of keys",
}


class OptionError(ValueError):
    """An option that is unknown, missing or not as declared; the message is one sentence, with its name first."""

    def __init__(self, problem: str, key: str = "") -> None:
        super().__init__(problem, key)
        self.problem, self.key = problem, key

    def __str__(self) -> str:
        return f"{self.key} {self.problem}".lstrip()

    def within(self, *sections: object) -> OptionError:
        """The same mistake, named from the sections around it; places in a list go unnamed."""
        names = (part for part in (*sections, self.key) if isinstance(part, str) and part)
        return OptionError(self.problem, ".".join(names))


@dataclass(frozen=True, slots=True)
class Option(GroupedMetadata):
    """What an annotation says of an option beside its type: one line of help, and what values it takes."""

    help: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    unit: str = ""
    choices: Sequence[str] = ()
    """Of a text, or of each in a list of them, where they stand in a registry; else a Literal names them."""

    def __iter__(self) -> Iterator[object]:
        bounds = ((Ge, self.ge), (Gt, self.gt), (Le, self.le), (Lt, self.lt))
        yield from (bound(value) for bound, value in bounds if value is not None)
        if self.choices:
            yield AfterValidator(self._among)

    def _among(self, value: Any) -> Any:
        for text in (value,) if isinstance(value, str) else value:
            if text not in self.choices:
                known = ", ".join(choice or '""' for choice in self.choices)
                raise OptionError(f"is {text!r}; one of {known} was expected. Change it.")
        return value


class Declared(BaseModel):
    """One option, as its annotation declares it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    help: str
    default: Any = None
    required: bool = False
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    """Whether the value must be above `low`, not equal to it."""
    open_high: bool = False
    unit: str = ""
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """The bounds of a number in words, such as "from 0 to 1" or "above 0"; empty where there are none."""
        if self.low is None:
            return "" if self.high is None else f"{'below' if self.open_high else 'up to'} {self.high:g}"
        if self.high is None:
            return f"above {self.low:g}" if self.open_low else f"of {self.low:g} or above"
        if self.open_low:
            return f"above {self.low:g} and {'below' if self.open_high else 'up to'} {self.high:g}"
        return f"from {self.low:g} to {'below ' if self.open_high else ''}{self.high:g}"

    @property
    def expected(self) -> str:
        """What the option takes, in words: "a number from 0 to 1", "one of reuse, retrain, end_to_end"."""
        if self.choices:
            known = ", ".join(choice or '""' for choice in self.choices)
            return f"{'a list of some' if self.kind == 'list' else 'one'} of {known}"
        return " ".join(filter(None, (NOUNS[self.kind], self.range, f"({self.unit})" if self.unit else "")))


class Settings(BaseModel):
    """A group of options, checked as it is made. Raises OptionError with one sentence for the first mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _explained(error, declared(type(self))) from None

    def changed(self, **values: Any) -> Self:
        """A copy with other values, checked as a new one is."""
        return type(self)(**{**dict(self), **values})


@cache
def declared(thing: Callable[..., Any]) -> tuple[Declared, ...]:
    """The options of a function (its keywords), a class (its attributes) or a `Settings` model (its fields)."""
    return tuple(_declare(name, hint, default) for name, (hint, default) in _fields(thing).items())


def checked(thing: Callable[..., Any], values: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """`values` as `thing` declares its options, with the defaults of those that are left out.

    Raises OptionError, which names the option under `section`, for one that is unknown, missing or not as declared.
    """
    try:
        model = _model(thing)(**values)
    except OptionError as error:
        raise error.within(section) from None
    return model.model_dump()


def assignment(text: str) -> tuple[str, Any]:
    """`key=value`, the value in TOML syntax; bare words are a string. Raises OptionError for anything else."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise OptionError(f"The override {text!r} is not key=value, for example train.epochs=20 or samples=512.")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


@cache
def _model(thing: Callable[..., Any]) -> type[Settings]:
    if isinstance(thing, type) and issubclass(thing, Settings):
        return thing
    fields: dict[str, Any] = _fields(thing)
    return create_model(getattr(thing, "__name__", "Options"), __base__=Settings, **fields)


def _fields(thing: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Annotation and default of each option, in the order of the declarations; `...` where a value is required."""
    hints = {n: h for n, h in get_type_hints(thing, include_extras=True).items() if _option(h)}
    if isinstance(thing, type) and issubclass(thing, BaseModel):
        fields = thing.model_fields
        return {
            n: (h, ... if fields[n].is_required() else fields[n].get_default(call_default_factory=True))
            for n, h in hints.items()
        }
    if isinstance(thing, type):
        return {n: (h, getattr(thing, n, ...)) for n, h in hints.items()}
    given = inspect.signature(thing).parameters
    return {n: (h, ... if given[n].default is inspect.Parameter.empty else given[n].default) for n, h in hints.items()}


def _option(hint: Any) -> Option | None:
    return next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Option)), None)


def _declare(name: str, hint: Any, default: Any) -> Declared:
    option = _option(hint)
    assert option is not None
    kind, choices = _kind(hint)
    low, high = (option.ge if option.gt is None else option.gt), (option.le if option.lt is None else option.lt)
    return Declared(
        name=name,
        kind=kind,
        help=option.help,
        default=None if default is ... else default,
        required=default is ...,
        low=low,
        high=high,
        open_low=option.gt is not None,
        open_high=option.lt is not None,
        unit=option.unit,
        choices=tuple(option.choices) or choices,
    )


def _kind(hint: Any) -> tuple[Kind, tuple[str, ...]]:
    """What a type is in TOML, and the texts that a Literal in it allows."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _kind(inner[0])
    if origin is Literal:
        return "str", inner
    if origin is tuple:
        return "list", _kind(inner[0])[1]
    plain: dict[Any, Kind] = {bool: "bool", int: "int", float: "float", str: "str"}
    return plain.get(hint, "table"), ()


def _explained(error: ValidationError, options: Sequence[Declared]) -> OptionError:
    """pydantic's first mistake as one sentence; an unknown name goes before what is missing, since it may be meant."""
    first = min(error.errors(include_url=False), key=lambda mistake: mistake["type"] != "extra_forbidden")
    place = first["loc"]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, OptionError):
        return cause.within(*place)
    option = next((option for option in options if option.name == place[0]), None)
    if option is None:
        known = [one.name for one in options]
        near = get_close_matches(str(place[0]), known, 1)
        hint = f" Did you mean {near[0]}?" if near else " Remove it."
        taken = f"one of {', '.join(known)}" if known else "no option at all"
        return OptionError(f"is not known; {taken} was expected.{hint}", str(place[0]))
    if first["type"] == "missing":
        return OptionError(f"is missing; {option.expected} was expected. Add it.", option.name)
    return OptionError(f"is {first['input']!r}; {option.expected} was expected. Change it.").within(*place)
