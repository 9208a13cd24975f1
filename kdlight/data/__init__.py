"""Labelled sets: folders with a manifest, MedMNIST files and tables of DICOM; their splits and checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kdlight.data.check import check
from kdlight.data.covidquex import is_covidquex, open_covidquex
from kdlight.data.dataset import DataError, Dataset, Item, match_classes
from kdlight.data.folder import open_folder
from kdlight.data.ham10000 import TASKS as HAM10000_TASKS
from kdlight.data.ham10000 import is_ham10000, open_ham10000
from kdlight.data.imbalance import class_weights, weighted_indices
from kdlight.data.lc25000 import TASKS as LC25000_TASKS
from kdlight.data.lc25000 import is_lc25000, open_lc25000
from kdlight.data.manifest import MANIFEST, open_table
from kdlight.data.masks import masks_in, read_mask
from kdlight.data.medmnist import open_npz
from kdlight.data.source import FRAMES
from kdlight.data.splits import carve
from kdlight.data.synthetic import synthetic

__all__ = [
    "LAYOUTS",
    "DataError",
    "Dataset",
    "Item",
    "carve",
    "check",
    "class_weights",
    "masks_in",
    "match_classes",
    "open_dataset",
    "read_mask",
    "synthetic",
    "weighted_indices",
]


@dataclass(frozen=True, slots=True)
class Layout:
    """A published set that is known by how its folders look."""

    summary: str
    matches: Callable[[Path], bool]
    open: Callable[[Path, str], Dataset]
    """(folder, task or "") to the set."""
    tasks: Mapping[str, str] = field(default_factory=dict)
    """Other questions that the set can be asked, by name, with what each is."""


LAYOUTS: dict[str, Layout] = {
    "covidquex": Layout("COVID-QU-Ex: chest X-rays in its own splits, masks left out", is_covidquex, open_covidquex),
    "ham10000": Layout(
        "HAM10000: skin lesions by its metadata, grouped by lesion", is_ham10000, open_ham10000, HAM10000_TASKS
    ),
    "lc25000": Layout(
        "LC25000: lung and colon tiles, grouped by common origin", is_lc25000, open_lc25000, LC25000_TASKS
    ),
}


def open_dataset(path: str | Path, classes: Sequence[str] | None = None) -> Dataset:
    """Open a labelled set: a folder (with or without manifest.csv), a MedMNIST `.npz`, or a CSV of paths.

    A folder that looks like one of LAYOUTS is read as that set, unless it has a manifest.csv. `PATH#TASK` asks such a
    set another question, such as `HAM10000#binary`; `PATH#frames` takes every frame of a folder's or table's files.
    classes: names of labels 0, 1, ... of an npz file; for the others the names the model or recipe gives, matched by
    name. Raises DataError that says what was found and what was expected.
    """
    path, task = _task_of(Path(path).expanduser())
    try:
        if path.is_file() and path.suffix.lower() == ".npz" and not task:
            return open_npz(path, classes)
        found = _open_folder(path, task) if path.is_dir() else _open_file(path, task)
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}. Check that it may be read.") from error
    return found if classes is None else match_classes(found, classes)


def _task_of(path: Path) -> tuple[Path, str]:
    """PATH#TASK taken apart; a # in the name of what is there stays."""
    name, mark, task = path.name.rpartition("#")
    return (path, "") if not mark or not name or path.exists() else (path.with_name(name), task)


def _open_folder(path: Path, task: str) -> Dataset:
    if (path / MANIFEST).is_file():
        _require_task(path, task)
        return open_table(path / MANIFEST, inside=True, task=task)
    for layout in LAYOUTS.values():
        if layout.matches(path):
            if task and task not in layout.tasks:
                raise _no_task(path, task, f"one of {', '.join(layout.tasks) or 'none'} was expected")
            return layout.open(path, task)
    _require_task(path, task)
    return open_folder(path, task)


def _open_file(path: Path, task: str) -> Dataset:
    if not path.is_file():
        raise DataError(f"{path} does not exist; a folder of class folders, an .npz or a .csv was expected.")
    if path.suffix.lower() != ".csv":
        raise DataError(f"{path} is a {path.suffix or 'nameless'} file; a folder, an .npz or a .csv was expected.")
    _require_task(path, task)
    return open_table(path, task=task)


def _require_task(path: Path, task: str) -> None:
    if task not in ("", FRAMES):
        raise _no_task(path, task, f"none was expected, or {FRAMES} for every frame of its files")


def _no_task(path: Path, task: str, expected: str) -> DataError:
    return DataError(f"{path} has no task {task!r}; {expected}. Leave #{task} away.")
