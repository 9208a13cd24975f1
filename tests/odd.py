"""What a record of JSON may look like after a stranger, another program or a bad disk had it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**400, 1e300, -1e300, float("nan"), float("inf"), 10**14),
    *("", "x" * 50_000, "<b>&\u202e\0\n", "\u00e9", [], {}, [[]], {"": None}, [1, "a", None], "NaN", "1e999"),
)


def places(value: Any) -> Iterator[Callable[[Any], None]]:
    """For each value inside mappings and lists what puts another in its place."""
    for key, inside in value.items() if isinstance(value, dict) else enumerate(value):
        yield lambda new, key=key: value.__setitem__(key, new)
        if isinstance(inside, (dict, list)) and inside:
            yield from places(inside)


def odd_record(record: dict[str, Any], rng: np.random.Generator) -> bytes:
    """A record with one to three values replaced, or its text cut, doubled, nested or with bytes changed."""
    changed = json.loads(json.dumps(record))
    for _ in range(int(rng.integers(1, 4))):
        every = list(places(changed))
        every[int(rng.integers(len(every)))](copy.deepcopy(ODD[int(rng.integers(len(ODD)))]))
    content = bytearray(json.dumps(changed).encode())
    match int(rng.integers(8)):
        case 0:
            del content[int(rng.integers(len(content))) :]
        case 1:
            content[int(rng.integers(len(content)))] = int(rng.integers(256))
        case 2:
            content = bytearray(b'{"a":' * 50_000) + content
        case 3:
            content = content * 2
    return bytes(content)
