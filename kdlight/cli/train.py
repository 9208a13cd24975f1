"""`kdlight train`: a recipe or a labeled set becomes a run, and the run a bundle."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdlight.cli.output import Answer, Json, UsageError, answers, mistake, table
from kdlight.contracts.recipe import Effort
from kdlight.runs import Run, RunError

if TYPE_CHECKING:
    from kdlight.bundle import Card

Source = Annotated[
    Path, typer.Argument(metavar="RECIPE|DATA", help="A .toml recipe, a shipped one's name, or a labeled set.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("-o", "--override", metavar="KEY=VALUE", help="Such as train.epochs=2.")
]
SET_BY_EFFORT = ("train.epochs", "train.views", "teacher.epochs")


@answers
def train(
    source: Source,
    modality: Annotated[str | None, typer.Option(help="Of a labeled set; see kdlight list modalities.")] = None,
    effort: Annotated[
        Effort | None, typer.Option(help="Sets epochs and views; standard for a labeled set.", show_default=False)
    ] = None,
    override: Overrides = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="The run's folder; a new one by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    as_json: Json = False,
) -> Answer:
    """Train a teacher, then its student; ends in a bundle under RUN/bundle."""
    from kdlight import training

    doubled = [text for text in override or () if effort and text.partition("=")[0].strip() in SET_BY_EFFORT]
    if doubled:
        raise UsageError(f"--effort sets {', '.join(SET_BY_EFFORT)}; leave out --effort or -o {doubled[0]}.")
    run = training.open_run(source, modality, out, effort, override or (), resume)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    with _mistakes_in_status(run):
        bundle = training.complete(run, resume)
    return _answer(run, bundle.card, time.monotonic() - began)


@contextlib.contextmanager
def _mistakes_in_status(run: Run) -> Iterator[None]:
    """A run that failed says why in the words of the command line."""
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        with contextlib.suppress(OSError):
            if words := mistake(error):
                run.update(message=words)
        raise


def _answer(run: Run, card: Card, seconds: float) -> Answer:
    reports, metrics = card.metrics.reports, card.metrics.to_json()
    payload = {"run": str(run.path), "bundle": str(run.bundle), "seconds": round(seconds, 1), "metrics": metrics}
    failed = [f"This pair has failed: its {role} is no better than chance." for role in card.at_chance]
    models = [name for name in ("teacher", "student", "alone") if name in reports]
    names = ("balanced_accuracy", "accuracy", "auc", "macro_f1", "ece")
    rows = [(name, *(getattr(reports[model], name) for model in models)) for name in names]
    return Answer(payload, [*failed, f"Bundle: {run.bundle}", table((f"{card.metrics.split} split", *models), rows)])
