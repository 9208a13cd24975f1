"""Labelled sets: folders with a manifest, MedMNIST files and tables of DICOM; their splits and checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kdlight.data.check import check
from kdlight.data.dataset import DataError, Dataset, Item, match_classes
from kdlight.data.folder import open_folder, open_table
from kdlight.data.imbalance import class_weights, weighted_indices
from kdlight.data.medmnist import open_npz
from kdlight.data.splits import carve
from kdlight.data.synthetic import synthetic

__all__ = [
    "DataError",
    "Dataset",
    "Item",
    "carve",
    "check",
    "class_weights",
    "match_classes",
    "open_dataset",
    "synthetic",
    "weighted_indices",
]


def open_dataset(path: str | Path, classes: Sequence[str] | None = None) -> Dataset:
    """Open a labelled set: a folder (with or without manifest.csv), a MedMNIST `.npz`, or a CSV of paths.

    classes: names of labels 0, 1, ... of an npz file; for the others the names the model or recipe gives, matched by
    name. Raises DataError that says what was found and what was expected.
    """
    path = Path(path).expanduser()
    try:
        if path.is_file() and path.suffix.lower() == ".npz":
            return open_npz(path, classes)
        found = open_folder(path) if path.is_dir() else _open_file(path)
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}. Check that it may be read.") from error
    return found if classes is None else match_classes(found, classes)


def _open_file(path: Path) -> Dataset:
    if not path.is_file():
        raise DataError(f"{path} does not exist; a folder of class folders, an .npz or a .csv was expected.")
    if path.suffix.lower() != ".csv":
        raise DataError(f"{path} is a {path.suffix or 'nameless'} file; a folder, an .npz or a .csv was expected.")
    return open_table(path)
