"""`kdlight data`: what is in a labeled set, several sets as one, a public set by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdlight import storage
from kdlight.cli.output import Answer, Data, Json, UsageError, answers, counted, pairs, table


@answers
def data_check(folder: Data, as_json: Json = False) -> Answer:
    """Counts per class and split, what is left out, unreadable files, duplicates, groups that straddle splits."""
    from kdlight.data import check, open_dataset

    dataset = open_dataset(folder)
    with counted("Reading images") as progress:
        result = check(dataset, progress)
    rows = [(name, *(counts[name] for counts in result.counts.values())) for name in result.classes]
    warned = any(one.near_twins for one in result.near_twins) or any(few.images for few in result.few)
    problems = result.problems or ["Nothing else was found." if warned else "Nothing wrong was found."]
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


@answers
def data_get(
    name: Annotated[str, typer.Argument(help="Of a MedMNIST set, such as breastmnist; see kdlight list datasets.")],
    size: Annotated[int, typer.Option(help="Side of its images in pixels: 28, 64, 128 or 224.")] = 28,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="NAME_SIZE.npz in this folder by default.")] = None,
    as_json: Json = False,
) -> Answer:
    """Fetch a public set by its name, check it, and write a recipe beside it that carries its license and classes."""
    from kdlight.data.fetch import fetch, published_set

    wanted = published_set(name, size)
    path = out or Path(f"{wanted.stem}.npz")
    if path.suffix.lower() != ".npz":
        raise UsageError(f"--out is {path}; the set is an .npz, so a name that ends so was expected. Change --out.")
    with counted(f"Fetching {path.name}") as progress:
        fetched = fetch(wanted, path, progress)
    recipe = path.with_suffix(".toml")
    if not recipe.exists():
        storage.write(recipe, wanted.recipe(path).to_toml())
    facts = {"file": str(path), "fetched": fetched, "recipe": str(recipe)} | wanted.model_dump()
    classes = "; ".join(f"{label} {words}" for label, words in enumerate(wanted.classes))
    shown = pairs(facts | {"classes": classes, "md5": f"{wanted.md5}, as published"})
    return Answer(facts, [shown, f"Next: kdlight train {recipe}"])
