"""An ablation: the same study under every combination of some of the recipe's values, compared pair by pair.

Each cell is a study of its own in its own folder. What cells have in common is trained once: the teacher, and where
only the method differs the student alone.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdlight.config import Recipe, RecipeError
from kdlight.distillers import create_distiller, find
from kdlight.models import create_model
from kdlight.results import read, same_start
from kdlight.runs import EpochRecord, Run
from kdlight.storage import write_json
from kdlight.study import paired, pool, study, words
from kdlight.training.phases import first_weights

SCHEMA = "kdlight.grid/1"
COPIED = ("seeds", "mean", "deviation", "gain_over_alone", "gap_to_teacher", "gain", "retained", "minutes")
"""What a cell's entry in grid.json has of its study.json."""


def combinations(grid: Sequence[str]) -> dict[str, dict[str, str]]:
    """`["distill.dual=false,true", ...]` to every combination: the cell's name, its value (as text) by key.

    A name is fit to be a folder's. Raises RecipeError for a text that is no key with two values or more, for a key
    given twice, or where two cells would have one name.
    """
    keys: dict[str, list[str]] = {}
    for text in grid:
        key, _, listed = text.partition("=")
        values = [value.strip() for value in listed.split(",")]
        if key.count(".") != 1 or len(values) < 2 or not all(values):
            raise RecipeError(
                f"The grid {text!r} is not section.key=value,value; two values or more were expected, as in "
                f"distill.temperature=2,4."
            )
        if key in keys:
            raise RecipeError(f"The grid names {key} twice; put all its values into one, as {key}=a,b,c.")
        keys[key] = values
    cells = [dict(zip(keys, values, strict=True)) for values in itertools.product(*keys.values())]
    named = {",".join(f"{key}={_plain(value)}" for key, value in cell.items()): cell for cell in cells}
    if len(named) < len(cells):
        raise RecipeError("Two values of one key in the grid are alike; give each once.")
    return named


def check(recipe: Recipe) -> None:
    """Build a recipe's models and method once, so that a wrong value is named now and not after the teacher's hours.

    Raises ValueError that names the wrong key or value.
    """
    method = find(recipe.distill.method)
    if not recipe.train.alone:
        raise RecipeError("A study needs the student alone, train.alone = true; take train.alone out of the grid.")
    classes = 3 if "multi-class" in method.tasks else 2
    student, teacher = (create_model(name, classes) for name in (recipe.student.name, recipe.teacher.name))
    for stage in ("alone", "student"):
        first_weights(recipe, stage, classes, lambda: teacher)
    create_distiller(recipe.distill.method, student, teacher, **recipe.distill.options)


def run_grid(
    cells: Mapping[str, Recipe],
    values: Mapping[str, Mapping[str, str]],
    folder: Path,
    seeds: int,
    recipe: str = "",
) -> Iterator[EpochRecord]:
    """Study every cell under `folder`/<name>; yields each epoch's record with its cell and seed.

    `recipe`: its name for the records. Finished seeds are not run again. At the end the comparison is in
    `folder`/grid.json, see `compare`. Raises ValueError at once, before anything is written or trained, if a cell
    cannot be built.
    """
    for cell in cells.values():
        check(cell)
    return _studies(cells, values, folder, seeds, recipe)


def _studies(
    cells: Mapping[str, Recipe], values: Mapping[str, Mapping[str, str]], folder: Path, seeds: int, recipe: str
) -> Iterator[EpochRecord]:
    for name, cell in cells.items():
        others = [folder / other for other in cells if other != name]
        for record in study(cell, folder / name, seeds, others, recipe):
            yield record.model_copy(update={"cell": name})
    found = compare(cells, values, folder, seeds)
    write_json(folder / "grid.json", found)


def compare(
    cells: Mapping[str, Recipe], values: Mapping[str, Mapping[str, str]], folder: Path, seeds: int
) -> dict[str, Any]:
    """The record of a grid whose studies are finished, grid.json.

    schema, recipe (its name), metric; keys: what varies;
    cells: [{"name", "values": {key: text}, "study" (path below the folder), and of its study.json: seeds, mean,
    deviation, gain_over_alone, gap_to_teacher, gain, retained, minutes; over_same_start: the gain over the same student
    from the same starting weights, in words}];
    differences, of every two cells: [{"first", "second", "difference": {"value", "low", "high"} or null, "words"}],
    balanced accuracy of the first cell's students less the second's, paired over seeds and images, 0 to 1; null where
    the two were not tested on the same images.
    """
    records = {n: json.loads((folder / n / "study.json").read_text(encoding="utf-8")) for n in cells}
    first = next(iter(cells))
    pooled = {name: pool(_runs(recipe, folder / name, seeds)) for name, recipe in cells.items()}
    return {
        "schema": SCHEMA,
        "recipe": records[first]["recipe"],
        "metric": records[first]["metric"],
        "keys": list(values[first]),
        "cells": [
            {
                **{"name": n, "values": dict(values[n]), "study": f"{n}/study.json"},
                **{k: records[n][k] for k in COPIED},
                "over_same_start": same_start.words(read(folder / n)),
            }
            for n in cells
        ],
        "differences": [_difference(b, a, pooled[b], pooled[a]) for a, b in itertools.combinations(cells, 2)],
    }


def _difference(first: str, second: str, one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    """The entry of two cells, by their pooled answers."""
    same = all(np.array_equal(one[name], two[name]) for name in ("labels", "groups"))
    found = paired(one, one["student"], two["student"]) if same else None
    said = words(found) if same else "not tested on the same images"
    return {"first": first, "second": second, "difference": found.to_json() if found else None, "words": said}


def _runs(recipe: Recipe, folder: Path, seeds: int) -> list[Run]:
    return [Run(folder / f"seed-{recipe.train.seed + number}") for number in range(seeds)]


def _plain(value: str) -> str:
    """A value as part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", value).strip("._") or "_"
