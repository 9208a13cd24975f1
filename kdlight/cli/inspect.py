"""Commands that only look: what there is, how a file is read, what a labeled set holds."""

from __future__ import annotations

import os
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from kdlight.cli.output import Answer, Frame, Json, answers, pairs, table

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
    return rows + [{"tasks": {}, **row} for row in _fetched()]


def _fetched() -> list[dict[str, Any]]:
    """The sets that `kdlight data get` fetches; how to have them listed where they are not known."""
    from kdlight.data import DataError
    from kdlight.data.fetch import SIZES, published_sets

    try:
        known = published_sets().values()
    except DataError as error:
        return [{"name": "medmnist", "summary": str(error)}]
    sizes = ", ".join(map(str, SIZES))
    return [
        {
            "name": one.name,
            "summary": f"kdlight data get {one.name}: {sum(one.images.values()):,} images, {len(one.classes)} classes, "
            f"{one.modality}, {sizes} px, {one.license}",
            "license": one.license,
        }
        for one in known
    ]


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
