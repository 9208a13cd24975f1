"""Commands that only look: what there is, how a file is read, what a labeled set holds."""

from __future__ import annotations

import os
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from kdlight import storage
from kdlight.cli.output import Answer, Data, Frame, Json, UsageError, answers, counted, pairs, table

DATASETS = {
    "folder": "<split>/<class>/<file>, <class>/<split>/<file> or <class>/<file>, patients as folders in the classes; "
    "with an optional manifest.csv (path, class, split, group); PATH#frames: every frame of its files",
    "csv": "a table of image or DICOM paths: path, class, and where known split and group",
    "npz": "a MedMNIST file",
    "synthetic": "drawn shapes, made inside the run, to try things without data",
}
"""What `kdlight.data.open_dataset` and a recipe's data.path understand, beside the sets of `kdlight.data.LAYOUTS`."""


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    methods = "methods"
    datasets = "datasets"
    modalities = "modalities"
    explainers = "explainers"
    recipes = "recipes"
    bundles = "bundles"


@answers
def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")], as_json: Json = False) -> Answer:
    """What there is: names and a line on each."""
    rows = LISTS[kind]()
    return Answer(rows, table(("name", "summary"), [(row["name"], row["summary"]) for row in rows]))


@answers
def inspect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Image files; a folder is walked.")],
    frame: Frame = 0,
    as_json: Json = False,
) -> Answer:
    """How a file is read: modality, size, bits, frames, window, what was removed; or why it is refused."""
    if len(files) == 1 and not files[0].is_dir():
        return _one(files[0], frame)
    from kdlight.images import guard
    from kdlight.images.reading import outcomes, render

    rows = outcomes(files)
    read = sum(row.read for row in rows)
    counts = {"files": len(rows), "read": read, "refused": len(rows) - read}
    return Answer({**counts, "sandbox": guard(), "rows": [asdict(row) for row in rows]}, render(rows))


@answers
def data_check(folder: Data, as_json: Json = False) -> Answer:
    """Counts per class and split, what is left out, unreadable files, duplicates, groups that straddle splits."""
    from kdlight.data import check, open_dataset

    dataset = open_dataset(folder)
    with counted("Reading images") as progress:
        result = check(dataset, progress)
    rows = [(name, *(counts[name] for counts in result.counts.values())) for name in result.classes]
    leaking = any(one.near_twins for one in result.near_twins)
    problems = result.problems or ["Nothing else was found." if leaking else "Nothing wrong was found."]
    return Answer(result.to_json(), [table(("class", *result.counts), rows), *result.notes, *problems])


@answers
def data_merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Two or more folders or CSVs of images.")],
    out: Annotated[Path, typer.Option(metavar="CSV", help="The table to write; one that is there is kept.")],
    val: Annotated[float, typer.Option(min=0.05, max=0.5, help="As data.val of the sets' own recipes.")] = 0.15,
    test: Annotated[float, typer.Option(min=0.05, max=0.5, help="As data.test of the sets' own recipes.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="As data.split_seed of the sets' own recipes.")] = 0,
    as_json: Json = False,
) -> Answer:
    """Several sets as one table of paths, each split as its own recipe splits it."""
    from kdlight.data import open_dataset
    from kdlight.data.merge import merge, names_of

    if out.exists():
        raise UsageError(f"{out} is there already; give --out a new name, or remove it.")
    sets = {name: open_dataset(folder) for name, folder in zip(names_of(folders), folders, strict=True)}
    storage.write(out, merge(sets, {"val": val, "test": test}, seed))
    merged = open_dataset(out)
    counts = {split: len(merged.split(split)) for split in merged.splits}
    return Answer({"csv": str(out), "sets": list(sets), "classes": list(merged.classes), "images": counts})


def _one(file: Path, frame: int) -> Answer:
    from kdlight.images import ImageError, guard, read

    schema = {"schema": "kdlight.inspect/1", "sandbox": guard()}
    try:
        facts = read(file, frame).facts
    except ImageError as error:
        return Answer(schema | {"read": False, "reason": error.reason, "message": str(error)}, fault=str(error))
    payload = schema | {"read": True} | asdict(facts)
    windows = (f"{w.name or 'file'}: center {_plain(w.center)}, width {_plain(w.width)}" for w in facts.windows)
    return Answer(payload, pairs(payload | {"windows": "; ".join(windows) or "-"}))


def _plain(value: float) -> str:
    """A number to four decimals, never in scientific form."""
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return text if float(text) or not value else f"{value:.12f}".rstrip("0").rstrip(".")


def _models() -> list[dict[str, Any]]:
    from kdlight.models import MODELS

    return [
        {"name": name, "role": n.role, "summary": f"{n.role}: {n.summary} ({n.source})", "weights": list(n.weights)}
        for name, n in MODELS.items()
    ]


def _methods() -> list[dict[str, Any]]:
    from kdlight.contracts.options import declared
    from kdlight.distillers import METHODS, hyperparameters

    return [
        {
            **{"name": name, "summary": kind.summary, "paper": kind.paper},
            **{"tasks": list(kind.tasks), "needs": kind.needs, "options": hyperparameters(kind)},
            "takes": {option.name: option.expected for option in declared(kind)},
        }
        for name, kind in METHODS.items()
    ]


def _datasets() -> list[dict[str, Any]]:
    from kdlight.data import LAYOUTS

    rows: list[dict[str, Any]] = [{"name": name, "summary": summary, "tasks": {}} for name, summary in DATASETS.items()]
    for name, layout in LAYOUTS.items():
        asked = "".join(f"; PATH#{task}: {words}" for task, words in layout.tasks.items())
        rows.append({"name": name, "summary": f"{layout.summary}{asked}", "tasks": dict(layout.tasks)})
    return rows


def _modalities() -> list[dict[str, Any]]:
    from kdlight.contracts.modality import MODALITIES

    return [
        {"name": m.name, "summary": m.words, "codes": list(m.codes), "windows": list(m.presets)}
        for m in MODALITIES.values()
    ]


def _explainers() -> list[dict[str, Any]]:
    from kdlight.explain import EXPLAINERS

    fields = ("name", "summary", "title", "paper", "gradients", "cost", "needs")
    return [
        {field: getattr(method, field) for field in fields} | {"options": {o.name: o.default for o in method.options}}
        for method in EXPLAINERS.values()
    ]


def _recipes() -> list[dict[str, Any]]:
    from kdlight.contracts.recipe import shipped

    firsts = {name: path.read_text(encoding="utf-8").partition("\n")[0] for name, path in shipped().items()}
    return [{"name": n, "summary": firsts[n].lstrip("# "), "path": str(path)} for n, path in shipped().items()]


def _bundles() -> list[dict[str, str]]:
    """Read from the cards alone: listing does not hash every file."""
    from kdlight import bundle

    return [_bundle(path) for path in bundle.find()]


def _bundle(path: Path) -> dict[str, str]:
    """One that is not understood is listed too, with the reason."""
    from kdlight.bundle import BundleError, read_card

    try:
        card = read_card(path)
    except BundleError as error:
        name, where = (os.fsencode(part).decode("utf-8", "replace") for part in (path.name, path))
        return {"name": name, "summary": f"refused: {error}", "refused": error.reason, "path": where}
    return {"name": card.id, "summary": card.name, "modality": card.modality, "path": str(path)}


LISTS = {
    Kind.models: _models,
    Kind.methods: _methods,
    Kind.datasets: _datasets,
    Kind.modalities: _modalities,
    Kind.explainers: _explainers,
    Kind.recipes: _recipes,
    Kind.bundles: _bundles,
}
