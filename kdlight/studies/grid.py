"""An ablation: the same study under every combination of some of the recipe's values, compared pair by pair.

Each cell is a study of its own in its own folder. What cells have in common is trained once: the teacher, and where
only the method differs the student alone.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from kdlight import storage
from kdlight.bundle.study_record import in_words
from kdlight.contracts.modality import modality
from kdlight.contracts.recipe import Recipe, RecipeError
from kdlight.distillers import create_distiller, find
from kdlight.models import create_model
from kdlight.runs import EpochRecord, Run
from kdlight.studies.gains import over_same_start
from kdlight.studies.records import GRID_SCHEMA, Difference, GridCell, GridRecord, read
from kdlight.studies.run import execute
from kdlight.studies.summary import Predictions, paired, pool, predictions
from kdlight.training.phases import first_weights

OF_STUDY = ("seeds", "mean", "deviation", "gain_over_alone", "gap_to_teacher", "gain", "retained", "minutes")
"""What a cell has of its study's record."""


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
    named = {",".join(f"{key}={_file_name(value)}" for key, value in cell.items()): cell for cell in cells}
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
    modality(recipe.data.modality)
    classes = 3 if "multi-class" in method.tasks else 2
    student, teacher = (create_model(name, classes) for name in (recipe.student.name, recipe.teacher.name))
    for phase in ("alone", "student"):
        first_weights(recipe, phase, classes, lambda: teacher)
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
        for record in execute(cell, folder / name, seeds, others, recipe):
            yield record.model_copy(update={"cell": name})
    storage.write_json(folder / "grid.json", compare(cells, values, folder, seeds).to_json())


def compare(
    cells: Mapping[str, Recipe], values: Mapping[str, Mapping[str, str]], folder: Path, seeds: int
) -> GridRecord:
    """The record of a grid whose studies are finished."""
    records = {name: read(folder / name) for name in cells}
    starts = {name: recipe.train.seed for name, recipe in cells.items()}
    pooled = {
        name: pool([predictions(Run(folder / name / f"seed-{first + number}")) for number in range(seeds)])
        for name, first in starts.items()
    }
    first = next(iter(cells))
    return GridRecord(
        schema=GRID_SCHEMA,
        recipe=records[first].recipe,
        metric=records[first].metric,
        keys=tuple(values[first]),
        cells=tuple(
            GridCell(
                name=name,
                values=dict(values[name]),
                study=f"{name}/study.json",
                over_same_start=over_same_start(record).words,
                **{field: getattr(record, field) for field in OF_STUDY},
            )
            for name, record in records.items()
        ),
        differences=tuple(_difference(b, a, pooled[b], pooled[a]) for a, b in itertools.combinations(cells, 2)),
    )


def _difference(first: str, second: str, one: Predictions, two: Predictions) -> Difference:
    """Of two cells, by their pooled predictions."""
    same = all(np.array_equal(one[name], two[name]) for name in ("labels", "groups"))
    gain = paired(one, one["student"], two["student"]) if same else None
    words = in_words(gain) if same else "not tested on the same images"
    return Difference(first=first, second=second, difference=gain, words=words)


def _file_name(value: str) -> str:
    """A value as part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", value).strip("._") or "_"
