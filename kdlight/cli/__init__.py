"""The command line. Every command takes --json and answers on stdout; a mistake is one line and exit status 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer
from typer.exceptions import Abort, TyperException

from kdlight.cli import (
    accept,
    baseline,
    benchmark,
    card,
    compress,
    data,
    evaluate,
    inspect,
    output,
    predict,
    study,
    train,
    weights,
)
from kdlight.runs.progress import say

INTERRUPTED = 130

app = typer.Typer(
    name="kdlight",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Light medical image classifiers by knowledge distillation. Research and teaching use only.",
)
sets = typer.Typer(no_args_is_help=True, help="Look at a labeled set, make one of several, or get a public one.")
app.add_typer(sets, name="data")

timed = typer.Typer(no_args_is_help=True, help="Time kdlight against what it is held against.")
app.add_typer(timed, name="benchmark")

app.command("list")(inspect.list_)
app.command("inspect")(inspect.inspect)
sets.command("check")(data.data_check)
sets.command("merge")(data.data_merge)
sets.command("get")(data.data_get)
app.command("card")(card.card)
app.command("train")(train.train)
app.command("study")(study.study)
app.command("weights")(weights.weights)
app.command("evaluate")(evaluate.evaluate)
app.command("accept")(accept.accept)
app.command("predict")(predict.predict)
app.command("explain")(predict.explain)
app.command("compress")(compress.compress)
app.command("export")(compress.export)
app.command("baseline")(baseline.baseline)
app.command("verify")(evaluate.verify)
app.command("sign")(evaluate.sign)
timed.command("latency")(benchmark.latency)
timed.command("explain")(benchmark.explain)
timed.command("batch")(benchmark.batch)
timed.command("training")(benchmark.training)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 1 a fault of kdlight, 2 the caller's mistake, 130 stopped."""
    try:
        status = app(args=arguments, prog_name="kdlight", standalone_mode=False)
    except TyperException as error:
        problem = " ".join(error.format_message().replace("Value error, ", "").split())
        say(f"kdlight: {problem} See kdlight --help.")
        return 2
    except (Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        sentence = output.mistake(error)
        if sentence is None:
            raise
        say(f"kdlight: {sentence}")
        return 2
    if status == INTERRUPTED:
        say("kdlight: stopped.")
    return status if isinstance(status, int) else 0
