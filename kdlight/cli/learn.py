"""`kdlight train`: a recipe becomes a run, and the run a bundle."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdlight import runs
from kdlight.cli.frame import Answer, Json, UsageError, answers, mistake, say, table
from kdlight.cli.progress import epochs
from kdlight.runs import Run

if TYPE_CHECKING:
    from kdlight.config import Recipe


RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A .toml recipe, or the name of a shipped one.")]
Overrides = Annotated[
    list[str] | None, typer.Option("-o", "--override", metavar="KEY=VALUE", help="Such as train.epochs=2.")
]
KEPT = "recipe"
"""The stem of the file that a run or a study keeps its recipe in."""
NAMED = "# Recipe: "
"""How the first line of a kept recipe begins, with its name after it."""


@answers
def train(
    recipe: RecipeFile,
    override: Overrides = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="The run's folder; a new one by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    as_json: Json = False,
) -> Answer:
    """Train a teacher, then its student; ends in a bundle under RUN/bundle."""
    run, chosen = _open(recipe, override or [], out, resume)
    run.claim(resume)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    with _noted(run), epochs() as show:
        from kdlight import training

        _warn(chosen, run)
        for record in training.execute(chosen, run):
            show(record)
    return _answer(run, time.monotonic() - began)


def open_recipe(path: Path, overrides: list[str]) -> Recipe:
    """A recipe by its file, or by the name of a shipped one.

    An override that changes distill.method leaves the options of the recipe's own method out, and says so on stderr:
    they were chosen for that method, and one of the same name may mean something else in another.
    """
    from kdlight.config import DistillConfig, read_recipe

    file = _file_of(path)
    chosen = read_recipe(file, overrides)
    given = {text.partition("=")[0].strip() for text in overrides}
    if "distill.method" not in given:
        return chosen
    own = read_recipe(file, [text for text in overrides if text.partition("=")[0].strip() != "distill.method"]).distill
    options = {key: value for key, value in chosen.distill.options.items() if f"distill.{key}" in given}
    left = [key for key in chosen.distill.options if key not in options]
    method = chosen.distill.method
    if own.method == method or not left:
        return chosen
    say(
        f"distill.method is {method} instead of {own.method}: {own.method}'s {', '.join(left)} left out, "
        f"{method}'s own defaults taken; set one with -o distill.KEY=VALUE."
    )
    return chosen.changed(distill=DistillConfig(method=method, **options))


def name_of(path: Path, recipe: Recipe) -> str:
    """The name a recipe goes by: its file's, fit to be a folder's, or what the first line of a kept copy says.

    A copy that says none, recipe.toml as runs keep it, goes by the name of its set.
    """
    file = _file_of(path)
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    name = first.removeprefix(NAMED) if first.startswith(NAMED) else file.stem
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")
    return plain if plain and plain != KEPT else recipe.name


def named(recipe: Recipe, name: str) -> str:
    """A recipe as TOML that keeps its name in the first line."""
    return f"{NAMED}{name}\n{recipe.to_toml()}"


def _file_of(path: Path) -> Path:
    """The recipe's file. Raises UsageError where there is neither a file nor a shipped recipe of that name."""
    from difflib import get_close_matches

    from kdlight.config import shipped

    known = shipped()
    file = path if path.is_file() else known.get(str(path))
    if file is None:
        near = get_close_matches(str(path), known, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"{path} is no recipe's file, nor is a shipped one called so.{hint} See kdlight list recipes.")
    return file


def _open(recipe: Path, overrides: list[str], out: Path | None, resume: bool) -> tuple[Run, Recipe]:
    """A new run, or the one in `out`, whose recipe must be the one asked for."""
    chosen = open_recipe(recipe, overrides)
    if out is None or not (out / "status.json").exists() or not (resume or Run(out).begun()):
        if resume:
            raise UsageError(f"There is no run to resume in {out or 'no folder'}; give the run's folder with --out.")
        return runs.create(chosen, path=out), chosen
    run = Run(out.absolute())
    if open_recipe(run.recipe, []) != chosen:
        raise UsageError(f"{out} holds a run of another recipe; give {run.recipe} as the recipe, or another --out.")
    return run, chosen


def _warn(recipe: Recipe, run: Run) -> None:
    """Say before the start where the teacher will have no weights to start from."""
    from kdlight.config import UNTRAINED
    from kdlight.models import published
    from kdlight.runs import origin

    known = origin.read(run.path)
    if known is not None:
        words = known.words if known.kind == "random" else ""
    else:
        reason = None if recipe.teacher.weights else published.lacking(recipe.teacher.name)
        words = f"{UNTRAINED}: {reason}" if reason else ""
    if words:
        say(f"Teacher starts from {words}.")


@contextlib.contextmanager
def _noted(run: Run) -> Iterator[None]:
    """Whatever ends the training is in the run's status. On a full disk it cannot be; the run then reads as stopped."""
    try:
        yield
    except KeyboardInterrupt:
        _end(run, "stopped", "Stopped by request; resume goes on from the last finished epoch.")
        raise
    except Exception as error:
        _end(run, "failed", mistake(error) or f"{type(error).__name__}: {error}")
        raise
    run.update(state="done", message="")


def _end(run: Run, state: str, message: str) -> None:
    with contextlib.suppress(OSError):
        run.update(state=state, message=message)


def _answer(run: Run, seconds: float) -> Answer:
    from kdlight import bundle

    card = bundle.load(run.bundle).card
    metrics = card.metrics.to_json()
    payload = {
        "run": str(run.path),
        "bundle": str(run.bundle),
        "seconds": round(seconds, 1),
        "metrics": metrics,
    }
    failed = [f"This pair has failed: its {role} is no better than chance." for role in card.at_chance]
    return Answer(payload, _words(run, metrics, failed))


def _words(run: Run, metrics: dict[str, Any], failed: list[str]) -> Any:
    from rich.console import Group

    models = [name for name in ("teacher", "student", "alone") if name in metrics]
    names = ("balanced_accuracy", "accuracy", "auc", "macro_f1", "ece")
    rows = [(name, *(metrics[model].get(name) for model in models)) for name in names]
    return Group(*failed, f"Bundle: {run.bundle}", table((f"{metrics.get('split', 'test')} split", *models), rows))
