"""Progress on stderr, so that stdout stays the answer's."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from kdlight.cli.frame import say


@contextlib.contextmanager
def counted(words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is moved by calling what is yielded with (done, total); silent where stderr is no terminal."""
    with _bar() as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def epochs() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Shows a training's records: a bar per stage on a terminal, else one line per epoch for the log file."""
    if not sys.stderr.isatty():
        yield lambda record: say(epoch_words(record))
        return
    with _bar() as bar:
        tasks: dict[str, Any] = {}

        def show(record: dict[str, Any]) -> None:
            stage = record["stage"]
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=record["epochs"])
            bar.update(tasks[stage], completed=record["epoch"], description=epoch_words(record))

        yield show


def epoch_words(record: dict[str, Any]) -> str:
    """`student 3/40: loss 0.412, validation balanced accuracy 0.871, 4.1 s`."""
    return (
        f"{record['stage']} {record['epoch']}/{record['epochs']}: loss {record['loss']:.3f}, "
        f"validation balanced accuracy {record['val_balanced_accuracy']:.3f}, {record['seconds']:.1f} s"
    )


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
