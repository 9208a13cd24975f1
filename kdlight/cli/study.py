"""`kdlight study`: the gain of distillation over several seeds, with its interval; with --grid an ablation."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdlight import runs, storage
from kdlight.cli.frame import Answer, Json, UsageError, answers, table
from kdlight.cli.learn import Overrides
from kdlight.runs import Run
from kdlight.runs.progress import epochs
from kdlight.runs.recipes import name_of, named, open_recipe

if TYPE_CHECKING:
    from kdlight.config import Recipe

Grid = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=A,B", help="Study every combination of values; may be given for several keys."),
]


@answers
def study(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A .toml recipe, or the name of a shipped one.")],
    seeds: Annotated[int, typer.Option(min=1, help="Students to train, taught and alone, from train.seed on.")] = 3,
    override: Overrides = None,
    grid: Grid = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The study's folder, also to go on.")] = None,
    as_json: Json = False,
) -> Answer:
    """Teacher, student taught and student alone over N seeds: the gain, with its interval."""
    if grid:
        return _grid(recipe, override or [], grid, out, seeds)
    chosen = open_recipe(recipe, override or [])
    name = name_of(recipe, chosen)
    folder = _folder(out, name)
    _claim(folder, chosen, name)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with epochs() as show:
        from kdlight import study as studies

        for record in studies.study(chosen, folder, seeds, name=name):
            show(record)
    found = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    return Answer({"study": str(folder), "bundle": str(folder / "bundle"), **found}, _words(found, folder))


def _grid(recipe: Path, overrides: list[str], asked: list[str], out: Path | None, seeds: int) -> Answer:
    """Every combination under its own folder; the teacher is trained once."""
    from kdlight.study import grid as grids

    values = grids.combinations(asked)
    cells = {name: _cell(recipe, overrides, cell) for name, cell in values.items()}
    first = open_recipe(recipe, overrides)
    name = name_of(recipe, first)
    folder = _folder(out, name)
    records = grids.run_grid(cells, values, folder, seeds, name)
    _claim(folder, first, name)
    for cell, chosen in cells.items():
        _claim(folder / cell, chosen, name)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with epochs() as show:
        for record in records:
            show(record)
    found = json.loads((folder / "grid.json").read_text(encoding="utf-8"))
    return Answer({"study": str(folder), **found}, _grid_words(found))


def _cell(recipe: Path, overrides: list[str], values: dict[str, str]) -> Recipe:
    return open_recipe(recipe, [*overrides, *(f"{key}={value}" for key, value in values.items())])


def _folder(out: Path | None, name: str) -> Path:
    return (out or runs.default_root() / f"study-{name}").absolute()


def _claim(folder: Path, recipe: Recipe, name: str) -> None:
    """Begin the study's folder, or go on in it if it is of the same recipe or ended before it learned anything."""
    kept = folder / "recipe.toml"
    if not kept.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty and holds no study; give another --out.")
        folder.mkdir(parents=True, exist_ok=True)
        storage.write(kept, named(recipe, name))
    elif not _is_of(kept, recipe):
        tried = [Run(status.parent) for status in folder.rglob("status.json")]
        if tried and not any(run.begun() for run in tried):
            storage.write(kept, named(recipe, name))
            return
        raise UsageError(f"{folder} holds a study of another recipe; give {kept} as the recipe, or another --out.")


def _is_of(kept: Path, recipe: Recipe) -> bool:
    """Whether a kept recipe says the same; a key that it was written without has its default."""
    from kdlight.config import RecipeError, read_recipe

    try:
        return read_recipe(kept) == recipe
    except RecipeError:
        return False


def _words(found: dict[str, Any], folder: Path) -> Any:
    from rich.console import Group

    from kdlight.results import read, same_start

    models = tuple(found["mean"])
    rows = [(f"seed {row['seed']}", *(row[m] for m in models)) for row in found["seeds"]]
    rows.append(("mean", *(found["mean"][m] for m in models)))
    told = same_start.sentence(same_start.words(read(folder)))
    return Group(table((found["metric"], *models), rows), f"{found['gain']} points over the student alone", told)


def _grid_words(found: dict[str, Any]) -> Any:
    """A row per cell, then a row per pair of cells, in points."""
    from rich.console import Group

    columns = (*found["keys"], "student", "deviation", "alone", "teacher", "over the student alone")
    rows = [
        (
            *cell["values"].values(),
            cell["mean"]["student"],
            cell["deviation"]["student"],
            cell["mean"]["alone"],
            cell["mean"]["teacher"],
            cell["gain"],
        )
        for cell in found["cells"]
    ]
    pairs = [(d["first"], d["second"], d["words"]) for d in found["differences"]]
    return Group(table(columns, rows), "", table(("cell", "less", "points"), pairs))
