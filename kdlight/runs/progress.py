"""A training's epochs as they come: a bar per training on a terminal or in a notebook, else a line per epoch."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kdlight.runs.records import EpochRecord

if TYPE_CHECKING:
    from rich.progress import Progress


def say(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"{text}\n")


@contextlib.contextmanager
def epochs() -> Iterator[Callable[[EpochRecord], None]]:
    """Shows each epoch that what is yielded is called with, on stderr, so that stdout stays the answer's."""
    with bars() as shown:
        if shown.disable:
            yield lambda record: say(str(record))
            return
        tasks = {}

        def show(record: EpochRecord) -> None:
            if record.training not in tasks:
                tasks[record.training] = shown.add_task(record.training, total=record.epochs)
            shown.update(tasks[record.training], completed=record.epoch, description=str(record))

        yield show


def bars() -> Progress:
    """Bars on stderr, disabled where that is neither a terminal nor a notebook."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"), TimeRemainingColumn())
    shown = console.is_jupyter or sys.stderr.isatty()
    return Progress(*columns, console=console, transient=not console.is_jupyter, disable=not shown)
