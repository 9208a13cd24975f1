"""What others may have changed is read in bounds, and behind one guard."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

MOST = 4 * 2**20
"""Bytes of a record, at most; ours, a hundred times what kdlight writes."""
LARGEST = 1e15
"""No count, size or time in a file is larger: such a number is nonsense, and arithmetic on it overflows."""
WHOLE_DIGITS = 15

M = TypeVar("M", bound=BaseModel)


class UnreadableError(ValueError):
    """A file that is not what kdlight wrote there; one sentence says which and why."""


def read(path: str | Path, most: int = MOST, tail: bool = False) -> bytes:
    """The bytes of a plain file that others may have changed; with `tail` the last ones of a larger file.

    Raises FileNotFoundError; UnreadableError for what cannot be read, is no file or has more than `most` bytes: nothing
    is waited for, as a pipe would be, and nothing fills the memory.
    """
    path = Path(path)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnreadableError(f"{path.name} is no plain file.")
            if tail:
                file.seek(max(0, os.fstat(file.fileno()).st_size - most))
            content = file.read(most if tail else most + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError(f"{path.name} cannot be read ({error.strerror}).") from error
    if len(content) > most:
        raise UnreadableError(f"{path.name} has more than {most / 2**20:.0f} MB, which kdlight never writes.")
    return content


def read_model(path: str | Path, kind: type[M], most: int = MOST) -> M:
    """A record as JSON, whole and in its declared bounds. Raises as `read` does."""
    try:
        return kind.model_validate_json(read(path, most))
    except ValidationError as error:
        raise UnreadableError(f"{Path(path).name} is not understood: {first_problem(error)}.") from error


def read_json(path: str | Path) -> Any:
    """The values of a JSON file. Raises as `read` does, and ValueError for what is no good JSON.

    Refused are nesting that no reader survives, NaN, and numbers beyond LARGEST.
    """
    try:
        return json.loads(read(path), parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(text: str) -> float:
    number = float(text)
    if not abs(number) <= LARGEST:
        raise ValueError(f"a number beyond {LARGEST:g} or none at all stands in it")
    return number


def _whole(text: str) -> int:
    return int(text) if len(text) <= WHOLE_DIGITS else int(_finite(text))


def first_problem(error: ValidationError) -> str:
    """What is wrong with the first field that is, without its content."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))[:80]
    return ": ".join(filter(None, [where, first["msg"].removeprefix("Value error, ")[:200]]))
