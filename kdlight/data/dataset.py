"""A labelled set: its items, the class, split and group each belongs to, and where their pixels come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from kdlight.images import Image
from kdlight.preprocessing import InputSpec

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

SPLITS = ("train", "val", "test")
UNSPLIT = "all"
"""The split of an item whose data names none."""

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What people call their splits, in lower case."""


class DataError(ValueError):
    """The labelled data cannot be used as it is; the message says why and what to do."""


class Source(Protocol):
    """Where the pixels of a set come from."""

    @property
    def name(self) -> str:
        """For messages: the folder or file as the person gave it."""

    def image(self, ref: str) -> Image:
        """Decode one item. Raises DataError that names it."""

    def stamp(self, ref: str) -> str:
        """A word that changes when the item's bytes may have changed (size and time of change)."""


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled image."""

    ref: str
    """Its name inside the source: a relative path, or split/index in an npz file."""
    label: int
    """Index into the set's `classes`."""
    split: str
    """train, val, test or another name the data gives; `all` where it gives none."""
    group: str
    """What must never straddle two splits (patient, lesion, tile); the item itself where the data gives none."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A labelled set or a part of one. `classes` stay the same in every part, so labels mean the same everywhere."""

    classes: tuple[str, ...]
    items: tuple[Item, ...]
    source: Source

    def __len__(self) -> int:
        return len(self.items)

    @property
    def labels(self) -> np.ndarray:
        """int64 (N,)."""
        return np.array([item.label for item in self.items], dtype=np.int64)

    @property
    def groups(self) -> np.ndarray:
        """str (N,)."""
        return np.array([item.group for item in self.items], dtype=np.str_)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that hold items: train, val, test first."""
        found = {item.split for item in self.items}
        return tuple(s for s in SPLITS if s in found) + tuple(sorted(found - set(SPLITS)))

    def split(self, name: str) -> Dataset:
        """The items of one split. Raises DataError where it is empty."""
        name = SPLIT_WORDS.get(name.lower(), name)
        chosen = tuple(item for item in self.items if item.split == name)
        if not chosen:
            known = ", ".join(self.splits) or "none"
            raise DataError(
                f"{self.source.name} has no split {name!r} (its splits: {known}). "
                f"Name one of them, or carve one by group with kdlight.data.carve."
            )
        return replace(self, items=chosen)

    def counts(self) -> dict[str, int]:
        """Images per class name, zeros included."""
        found = Counter(item.label for item in self.items)
        return {name: found[index] for index, name in enumerate(self.classes)}

    def images(self, spec: InputSpec, progress: Progress | None = None, cache: bool = True) -> np.ndarray:
        """Every image as the model sees it before normalization: uint8 (N, size, size, 3), in the order of `items`.

        Rendered by `InputSpec.render` and kept on disk for the next time (see kdlight.data.pixels).
        Raises DataError that names the first image that cannot be read; none is ever skipped or replaced.
        """
        from kdlight.data.pixels import rendered

        return rendered(self, spec, progress, cache)


def match_classes(dataset: Dataset, classes: Iterable[str]) -> Dataset:
    """The set with its labels renumbered to `classes`, matched by name and never by position.

    `classes` are a model's, in its order. Raises DataError that names the classes one side lacks, unless the set lacks
    images only: a set may hold fewer classes than the model knows, never others.
    """
    wanted = tuple(classes)
    unknown = [name for name, count in dataset.counts().items() if count and name not in wanted]
    if unknown:
        absent = [name for name in wanted if name not in dataset.classes]
        raise DataError(
            f"{dataset.source.name} has classes the model does not know: {', '.join(unknown)}; "
            f"the model's are {', '.join(wanted)}{' (missing here: ' + ', '.join(absent) + ')' if absent else ''}. "
            f"Rename the class folders, or give the class names in the model's words."
        )
    index = {name: position for position, name in enumerate(wanted)}  # every class with images is in it
    items = tuple(replace(item, label=index[dataset.classes[item.label]]) for item in dataset.items)
    return replace(dataset, classes=wanted, items=items)
