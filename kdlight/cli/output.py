"""What every command shares: option types, the bundle, one answer on stdout, progress and mistakes on stderr."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer
from pydantic import BaseModel

from kdlight import storage
from kdlight.metrics import Interval
from kdlight.runs.progress import bars

if TYPE_CHECKING:
    from kdlight.bundle import Bundle
    from kdlight.contracts.reading import HeatMap
    from kdlight.images import Image

P = ParamSpec("P")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout and nothing else.")]
BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or the id of a listed one.")]
Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images, MedMNIST .npz, or CSV of paths.")]
Frame = Annotated[int, typer.Option(min=0, help="Frame of a multi-frame file, from 0.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
PIPE_WIDTH = 160
"""Columns of a table that is not shown on a terminal."""
OPACITY = 0.45
"""Of a heat map over its scan."""
PACKAGE = str(Path(__file__).resolve().parents[1])


class Model(StrEnum):
    """Which of a bundle's two."""

    teacher = "teacher"
    student = "student"


class UsageError(ValueError):
    """The command was asked for something it cannot do."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """A command's result: `payload` (JSON-ready or a pydantic model) for programs, `text` for people.

    text: anything that rich prints, or a sequence of such. With a `fault` the command ends as the caller's mistake all
    the same; people then see `text` only where it is given.
    """

    payload: Any
    text: Any = None
    fault: str | None = None

    def print(self, as_json: bool) -> None:
        payload = self.payload.model_dump(mode="json") if isinstance(self.payload, BaseModel) else self.payload
        if as_json:
            sys.stdout.write(json.dumps(payload, ensure_ascii=False, allow_nan=False) + "\n")
            return
        from rich.console import Console

        width = None if sys.stdout.isatty() else PIPE_WIDTH
        console = Console(width=width, soft_wrap=True, highlight=False, markup=False)
        text = pairs(payload) if self.text is None else self.text
        for part in text if isinstance(text, (list, tuple)) else (text,):
            console.print(part)


def answers(command: Callable[P, Answer]) -> Callable[P, None]:
    """Run a command with stdout reserved for its answer; what a library prints goes to stderr."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with contextlib.redirect_stdout(sys.stderr):
            answer = command(*args, **kwargs)
        as_json = bool(kwargs.get("as_json"))
        if as_json or answer.text is not None or answer.fault is None:
            answer.print(as_json)
        if answer.fault:
            raise UsageError(answer.fault)

    run.__annotations__ = {**command.__annotations__, "return": None}
    return run


def open_bundle(path: Path) -> Bundle:
    """A bundle by its folder, or by the id of a shipped one or one in the library. Raises UsageError, BundleError."""
    from kdlight import bundle

    listed = {folder.name: folder for folder in bundle.find()}
    if not path.exists() and str(path) not in listed:
        known = ", ".join(sorted(listed)) or "none is listed"
        raise UsageError(f"There is no bundle {path}; a folder, or one of these was expected: {known}.")
    return bundle.load(path if path.exists() else listed[str(path)])


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
    """A plain table; numbers are set to the right."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(words(value), justify="right" if isinstance(value, float) else "left") for value in row))
    return grid


def pairs(payload: Any) -> Any:
    """A mapping as two columns."""
    if not isinstance(payload, dict):
        return words(payload)
    grid = table(("", ""), [(key, words(value)) for key, value in payload.items()])
    grid.show_header = False
    return grid


def words(value: Any) -> str:
    """A value as a person reads it: three significant digits, an estimate with its interval, lists with commas."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict) and set(value) == {"value", "low", "high"}:
        value = Interval(**value)
    if isinstance(value, Interval):
        return f"{value:.3f}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {words(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(words(item) for item in value)
    return str(value)


@contextlib.contextmanager
def counted(words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, moved by calling what is yielded with (done, total); silent where stderr is no terminal."""
    with bars() as shown:
        task = shown.add_task(words, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def save_overlay(image: Image, heat: HeatMap, path: Path) -> None:
    """A heat map over its scan, as a PNG of the scan's size; in gray where it failed, not at all where it is flat."""
    import matplotlib
    import numpy as np
    import PIL.Image

    shown = PIL.Image.fromarray(image.display()).convert("RGB")
    if not heat.flat:
        values = PIL.Image.fromarray(heat.values.astype(np.float32)).resize(shown.size, PIL.Image.Resampling.BILINEAR)
        colors = matplotlib.colormaps["gray" if heat.failed else "inferno"](np.clip(np.asarray(values), 0, 1))[..., :3]
        shown = PIL.Image.blend(shown, PIL.Image.fromarray((colors * 255).astype(np.uint8)), OPACITY)
    with storage.replacing(path) as beside:
        shown.save(beside, format="PNG")


def mistake(error: Exception) -> str | None:
    """The one line for a mistake of the caller or a lack of the machine; None for a fault of the program."""
    if isinstance(error, OSError):
        return _of_the_system(error)
    if isinstance(error, ValueError) and _is_ours(error):
        return _one_line(str(error))
    return None


def _of_the_system(error: OSError) -> str:
    where = _one_line(str(error.filename)) if error.filename else "the target"
    known = {
        errno.ENOSPC: f"The disk is full while writing {where}; free some space and run the command again.",
        errno.EDQUOT: f"The disk quota is used up while writing {where}; free some space and run the command again.",
        errno.EFBIG: f"{where} is larger than a file may be here; raise the limit, or choose another place.",
        errno.EADDRINUSE: "The port is in use; choose another one.",
        errno.ENOENT: f"{where} does not exist; an existing file or folder was expected.",
        errno.EACCES: f"{where} may not be read or written by you; change its permissions or choose another place.",
        errno.EROFS: f"{where} lies on a read-only disk; choose another place.",
        errno.EISDIR: f"{where} is a folder; a file was expected.",
        errno.ENOTDIR: f"{where} is not a folder; a folder was expected.",
    }
    if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EADDRINUSE):
        return _one_line(str(error))
    return known.get(error.errno or 0, f"{where}: {error.strerror or error}.")


def _is_ours(error: ValueError) -> bool:
    """A ValueError that kdlight raised itself, not one that a library raised under it."""
    frames = traceback.extract_tb(error.__traceback__)
    return type(error).__module__.startswith("kdlight.") or bool(frames and frames[-1].filename.startswith(PACKAGE))


def _one_line(text: str) -> str:
    return " ".join(text.split())
