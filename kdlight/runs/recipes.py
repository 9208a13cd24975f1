"""Which recipe a training follows: a file's, a shipped one's, or that of a labeled set's modality."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

from kdlight.contracts.modality import MODALITIES
from kdlight.contracts.recipe import DistillConfig, Recipe, RecipeError, default_recipe, read_recipe, shipped
from kdlight.runs.progress import say as say_on_stderr

STEM = "recipe"
"""Of the file that a run or a study keeps its recipe in."""
NAMED = "# Recipe: "
"""How the first line of a kept recipe begins, with its name after it."""
SETS = (".npz", ".csv")
"""Endings of a labeled set that is no folder."""


def is_labeled_set(source: Recipe | str | Path) -> bool:
    """Whether a training's source is a labeled set, so that its recipe is its modality's."""
    return not isinstance(source, Recipe) and (Path(source).is_dir() or Path(source).suffix.lower() in SETS)


def open_recipe(
    source: Recipe | str | Path,
    overrides: Sequence[str] = (),
    modality: str | None = None,
    say: Callable[[str], None] = say_on_stderr,
) -> Recipe:
    """The recipe of a training's source, with `section.key=value` overrides. Raises RecipeError.

    source: a recipe, its file, a shipped one's name, or a labeled set (folder, .npz, .csv), which needs a modality.
    An override that changes distill.method leaves the options of the recipe's own method out, and `say` is told: they
    were chosen for that method, and one of the same name may mean something else in another.
    """
    overrides = [*overrides, *([f"data.modality={modality}"] if modality else [])]
    if isinstance(source, Recipe):
        return source.overridden(overrides)
    if not is_labeled_set(source):
        return _read(recipe_file(source), overrides, say)
    if not modality:
        raise RecipeError(
            f"{source} is a labeled set and no recipe, so its modality was expected too, one of "
            f"{', '.join(MODALITIES)}. Add --modality (in Python modality=...)."
        )
    return default_recipe(source, modality).overridden(overrides)


def _read(file: Path, overrides: Sequence[str], say: Callable[[str], None]) -> Recipe:
    """A recipe's file with overrides, without options of a method that is no longer the recipe's."""
    recipe = read_recipe(file, overrides)
    overridden = {text.partition("=")[0].strip() for text in overrides}
    others = [text for text in overrides if text.partition("=")[0].strip() != "distill.method"]
    before, method = read_recipe(file, others).distill.method, recipe.distill.method
    options = {key: value for key, value in recipe.distill.options.items() if f"distill.{key}" in overridden}
    dropped = [key for key in recipe.distill.options if key not in options]
    if before == method or not dropped:
        return recipe
    say(
        f"distill.method is {method} instead of {before}: {before}'s {', '.join(dropped)} left out, "
        f"{method}'s own defaults taken; set one with -o distill.KEY=VALUE."
    )
    return recipe.changed(distill=DistillConfig(method=method, **options))


def recipe_file(source: str | Path) -> Path:
    """The recipe's file. Raises RecipeError where there is neither a file nor a shipped recipe of that name."""
    known, path = shipped(), Path(source)
    file = path if path.is_file() else known.get(str(source))
    if file is None:
        near = get_close_matches(str(source), known, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise RecipeError(
            f"{source} is no recipe's file, no labeled set, and no shipped recipe is called so.{hint} "
            "See kdlight list recipes."
        )
    return file


def name_of(source: Path, recipe: Recipe) -> str:
    """The name a recipe goes by: its file's, fit to be a folder's, or what the first line of a kept copy says.

    A copy that says none, recipe.toml as runs keep it, goes by the name of its set.
    """
    file = recipe_file(source)
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    name = first.removeprefix(NAMED) if first.startswith(NAMED) else file.stem
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")
    return plain if plain and plain != STEM else recipe.name


def named(recipe: Recipe, name: str) -> str:
    """A recipe as TOML that keeps its name in the first line."""
    return f"{NAMED}{name}\n{recipe.to_toml()}"
