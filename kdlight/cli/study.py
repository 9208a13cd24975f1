"""`kdlight study`: the gain of distillation over several seeds, with its interval; with --grid an ablation."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdlight.cli.output import Answer, Json, UsageError, answers, table
from kdlight.cli.train import Overrides
from kdlight.runs.progress import epochs
from kdlight.runs.recipes import name_of, open_recipe

if TYPE_CHECKING:
    from kdlight.bundle.study_record import StudyRecord
    from kdlight.studies.records import GridRecord

Grid = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=A,B", help="Study every combination of values; may be given for several keys."),
]


@answers
def study(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A .toml recipe, or the name of a shipped one.")],
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Students to train, taught and alone, from train.seed on; 3 if not given.")
    ] = None,
    folds: Annotated[
        int, typer.Option(min=0, max=20, help="Cross-validate over so many parts by group, in place of --seeds.")
    ] = 0,
    override: Overrides = None,
    grid: Grid = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The study's folder, also to go on.")] = None,
    as_json: Json = False,
) -> Answer:
    """Teacher, student taught and student alone over N seeds: the gain, with its interval."""
    if folds == 1 or (folds and (grid or seeds is not None)):
        raise UsageError("--folds takes 2 to 20, without --seeds and --grid; leave those out.")
    seeds = 3 if seeds is None else seeds
    if grid:
        return _grid(recipe, override or [], grid, out, seeds)
    chosen = open_recipe(recipe, override or [])
    name = name_of(recipe, chosen)
    from kdlight.studies import read
    from kdlight.studies.run import claim, execute

    folder = claim(out, chosen, name)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with epochs() as show:
        for epoch in execute(chosen, folder, seeds, name=name, folds=folds):
            show(epoch)
    record = read(folder)
    bundle = {} if folds else {"bundle": str(folder / "bundle")}
    return Answer({"study": str(folder), **bundle, **record.to_json()}, _text(record))


def _grid(recipe: Path, overrides: list[str], asked: list[str], out: Path | None, seeds: int) -> Answer:
    """Every combination under its own folder; the teacher is trained once."""
    from kdlight.studies import grid as grids
    from kdlight.studies.records import read_grid
    from kdlight.studies.run import claim

    values = grids.combinations(asked)
    cells = {
        name: open_recipe(recipe, [*overrides, *(f"{key}={value}" for key, value in cell.items())])
        for name, cell in values.items()
    }
    first = open_recipe(recipe, overrides)
    name = name_of(recipe, first)
    for cell in cells.values():
        grids.check(cell)
    folder = claim(out, first, name)
    for cell_name, cell in cells.items():
        claim(folder / cell_name, cell, name)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with epochs() as show:
        for epoch in grids.run_grid(cells, values, folder, seeds, name):
            show(epoch)
    record = read_grid(folder / "grid.json")
    return Answer({"study": str(folder), **record.to_json()}, _grid_text(record))


def _text(record: StudyRecord) -> list[Any]:
    from kdlight.studies.gains import over_same_start

    models = record.mean.by_model
    number = "fold" if record.folds else "seed"
    rows = [(f"{number} {row.seed}", *(row.by_model[model] for model in models)) for row in record.seeds]
    rows.append(("mean", *models.values()))
    gain = f"{record.gain} points over the student alone"
    return [table((record.metric, *models), rows), gain, over_same_start(record).sentence]


def _grid_text(record: GridRecord) -> list[Any]:
    """A row per cell, then a row per pair of cells, in points."""
    columns = (*record.keys, "student", "deviation", "alone", "teacher", "over the student alone")
    rows = [
        (
            *(cell.values[key] for key in record.keys),
            *(cell.mean.student, cell.deviation.get("student"), cell.mean.alone, cell.mean.teacher),
            cell.gain,
        )
        for cell in record.cells
    ]
    pairs = [(pair.first, pair.second, pair.words) for pair in record.differences]
    return [table(columns, rows), "", table(("cell", "less", "points"), pairs)]
