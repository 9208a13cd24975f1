"""Labeled sets: folders with a manifest, MedMNIST files and tables of DICOM; their splits and checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kdlight.data import covidquex, ham10000, lc25000
from kdlight.data.check import check
from kdlight.data.dataset import DataError, Dataset, Item, match_classes
from kdlight.data.files import FRAMES, Layout, labeled
from kdlight.data.folder import read_folder
from kdlight.data.imbalance import class_weights
from kdlight.data.manifest import MANIFEST, read_manifest
from kdlight.data.masks import masks_in, read_mask
from kdlight.data.medmnist import open_npz
from kdlight.data.splits import carve
from kdlight.data.synthetic import synthetic

__all__ = [
    "LAYOUTS",
    "DataError",
    "Dataset",
    "Item",
    "Layout",
    "carve",
    "check",
    "class_weights",
    "masks_in",
    "match_classes",
    "open_dataset",
    "read_mask",
    "synthetic",
]


LAYOUTS: dict[str, Layout] = {
    "covidquex": covidquex.LAYOUT,
    "ham10000": ham10000.LAYOUT,
    "lc25000": lc25000.LAYOUT,
}


def open_dataset(path: str | Path, classes: Sequence[str] | None = None) -> Dataset:
    """Open a labeled set: a folder (with or without manifest.csv), a MedMNIST `.npz`, or a CSV of paths.

    A folder that looks like one of LAYOUTS is read as that set, unless it has a manifest.csv. `PATH#TASK` asks such a
    set another question, such as `HAM10000#binary`; `PATH#frames` takes every frame of a folder's or table's files.
    classes: names of labels 0, 1, ... of an npz file; for the others the names the model or recipe gives, matched by
    name. Raises DataError that says what was found and what was expected.
    """
    path, task = _task_of(Path(path).expanduser())
    try:
        if path.is_file() and path.suffix.lower() == ".npz" and not task:
            return open_npz(path, classes)
        dataset = _open(path, task)
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}. Check that it may be read.") from error
    return dataset if classes is None else match_classes(dataset, classes)


def _task_of(path: Path) -> tuple[Path, str]:
    """PATH#TASK taken apart; a # in the name of what is there stays."""
    name, mark, task = path.name.rpartition("#")
    return (path, "") if not mark or not name or path.exists() else (path.with_name(name), task)


def _open(path: Path, task: str) -> Dataset:
    if not path.exists():
        raise DataError(f"{path} does not exist; a folder of class folders, an .npz or a .csv was expected.")
    manifest = path / MANIFEST
    layout = None if manifest.is_file() else next((one for one in LAYOUTS.values() if one.matches(path)), None)
    if task and task not in (layout.tasks if layout else (FRAMES,)):
        known = f"one of {', '.join(layout.tasks) or 'none'} was expected" if layout else ""
        expected = known or f"none was expected, or {FRAMES} for every frame of its files"
        raise DataError(f"{path} has no task {task!r}; {expected}. Leave #{task} away.")
    if layout:
        return labeled(path, layout.read(path, task))
    if path.is_dir():
        return labeled(path, read_manifest(manifest, inside=True) if manifest.is_file() else read_folder(path), task)
    if path.suffix.lower() != ".csv":
        raise DataError(f"{path} is a {path.suffix or 'nameless'} file; a folder, an .npz or a .csv was expected.")
    return labeled(path.parent, read_manifest(path), task)
