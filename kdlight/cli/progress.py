"""Progress on stderr, so that stdout stays the answer's."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from kdlight.cli.frame import say
from kdlight.runs import EpochRecord


@contextlib.contextmanager
def counted(words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is moved by calling what is yielded with (done, total); silent where stderr is no terminal."""
    with _bar() as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def epochs() -> Iterator[Callable[[EpochRecord], None]]:
    """Shows a training's records: a bar per training on a terminal, else one line per epoch for the log file."""
    if not sys.stderr.isatty():
        yield lambda record: say(str(record))
        return
    with _bar() as bar:
        tasks: dict[str, Any] = {}

        def show(record: EpochRecord) -> None:
            if record.training not in tasks:
                tasks[record.training] = bar.add_task(record.training, total=record.epochs)
            bar.update(tasks[record.training], completed=record.epoch, description=str(record))

        yield show


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
