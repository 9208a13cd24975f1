"""Several sets as one, for a network that shall know all of them before it is taught any of them."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from kdlight.data.dataset import DataError, Dataset
from kdlight.data.files import FolderSource
from kdlight.data.manifest import COLUMNS
from kdlight.data.splits import parted


def merge(sets: Mapping[str, Dataset], shares: Mapping[str, float], seed: int) -> str:
    """A CSV of all images of `sets` (by name) that `open_dataset` reads back as one set.

    Its classes are "SET CLASS" and its groups "SET/GROUP". shares: of the groups of each set, for each split that it
    lacks, such as {"val": 0.15, "test": 0.2}; carved as a recipe with the same shares and seed carves that set alone,
    so no image is in the training part here and in a test part there. Raises DataError for a set that is not of files.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, dataset in sets.items():
        if not isinstance(dataset.source, FolderSource):
            raise DataError(f"{name} is not made of image files, which a table of paths needs. Leave it out.")
        if dataset.source.places:
            first = next(iter(dataset.source.places))
            raise DataError(f"{name} has files that no table can name ({first}). Leave it out.")
        root = dataset.source.root.absolute()
        for item in parted(dataset, shares, seed).items:
            class_name = f"{name} {dataset.classes[item.label]}"
            writer.writerow((str(root / item.ref), class_name, item.split, f"{name}/{item.group}"))
    return text.getvalue()


def names_of(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, its name in the merged set. Raises DataError where two have the same."""
    names = [path.name for path in paths]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"Two sets are called {twice[0]}; names that differ were expected. Rename one of the folders.")
    return names
