"""What a manifest says of each image besides its class, as groups of images that can be counted apart."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from kdlight.data import Dataset

FEWEST = 10
"""Images that a value needs to be counted apart."""
MOST_VALUES = 12
"""Values a column may have; one with more is cut in parts where all are numbers, else left out."""
BAND = 20
"""Years of a band of age."""
SUBGROUPS: Mapping[str, tuple[str, ...]] = {
    "sex": ("sex", "gender", "patient sex"),
    "age": ("age", "age approx", "age years", "patient age"),
    "scanner": ("scanner", "device", "manufacturer", "camera", "scanner model"),
    "source": ("source", "dataset", "site", "hospital", "center", "centre", "institution"),
    "skin tone": ("skin tone", "skin type", "fitzpatrick", "fitzpatrick skin type", "fst", "monk skin tone"),
}
"""The columns along which a model may be unfair, by what they are often called."""


def columns(dataset: Dataset) -> dict[str, np.ndarray]:
    """By column a value (N,) of each image, "" where it is not known or of fewer than FEWEST images.

    Numbers in more than MOST_VALUES values are cut, ages in bands of 20 years, others in thirds. A column that does not
    part the images, or that names each group, is left out.
    """
    names = dict.fromkeys(name for item in dataset.items for name, _ in item.facts)
    found = {}
    for name in names:
        values = np.array([_plain(dict(item.facts).get(name, "")) for item in dataset.items], dtype=object)
        values = _frequent(_cut(values, is_age=known_as(name) == "age"))
        kinds = set(values.tolist()) - {""}
        if 2 <= len(kinds) <= MOST_VALUES and not _names_groups(values, dataset.groups):
            found[name] = values
    return found


def subgroups(dataset: Dataset) -> dict[str, np.ndarray]:
    """Those of `columns` that are one of SUBGROUPS, by its name there."""
    return {kind: values for name, values in columns(dataset).items() if (kind := known_as(name)) is not None}


def known_as(column: str) -> str | None:
    """Which of SUBGROUPS a column is."""
    plain = re.sub(r"[\s_-]+", " ", column.strip().lower())
    return next((kind for kind, names in SUBGROUPS.items() if plain in names), None)


def _plain(value: str) -> str:
    """On one short line, whatever a table holds."""
    return "".join(c if c.isprintable() else " " for c in value)[:60].strip()


def _cut(values: np.ndarray, is_age: bool) -> np.ndarray:
    known = values != ""
    if not is_age and len(set(values[known].tolist())) <= MOST_VALUES:
        return values
    try:
        numbers = values[known].astype(np.float64)
    except ValueError:
        return values
    if is_age:
        low = (numbers // BAND * BAND).astype(int)
        words = [f"{start} to {start + BAND - 1}" for start in low.tolist()]
    else:
        first, second = np.quantile(numbers, [1 / 3, 2 / 3], method="lower")
        named = (f"up to {first:g}", f"above {first:g} to {second:g}", f"above {second:g}")
        words = [named[int(n > first) + int(n > second)] for n in numbers.tolist()]
    cut = values.copy()
    cut[known] = words
    return cut


def _frequent(values: np.ndarray) -> np.ndarray:
    kinds, counts = np.unique(values.astype(str), return_counts=True)
    rare = set(kinds[counts < FEWEST].tolist())
    return np.array(["" if value in rare else value for value in values.tolist()], dtype=object)


def _names_groups(values: np.ndarray, groups: np.ndarray) -> bool:
    """Whether each value is of one group only, as a patient's name is."""
    known = values != ""
    pairs = {(value, group) for value, group in zip(values[known].tolist(), groups[known].tolist(), strict=True)}
    return len(pairs) == len(set(values[known].tolist()))
