"""A labeled set: its items, the class, split and group each belongs to, and where their pixels come from."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from kdlight.images import Image
from kdlight.preprocessing import InputSpec

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

SPLITS = ("train", "val", "test")
UNSPLIT = "all"
"""The split of an item whose data names none."""

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""What people call their splits, in lower case."""
_SPLIT_ENDING = re.compile(r"[ _-]?(set|data|dataset|images?|imgs?|split)$")


def split_word(name: str) -> str | None:
    """train, val or test for what people call them, such as Testing, valid or train_set; None for another name."""
    word = name.strip().lower()
    return SPLIT_WORDS.get(word) or SPLIT_WORDS.get(_SPLIT_ENDING.sub("", word))


def plain_name(name: str) -> str:
    """A class name in one Unicode form (NFC), without spaces around it: macOS writes the same letters in another."""
    return unicodedata.normalize("NFC", name).strip()


Reason = Literal[
    "mask", "mask-without-image", "frames", "system", "dicomdir", "hidden", "not-an-image", "not-listed", "link"
]
"""Why something in a folder is no image of the set. dicomdir: the list of the files on a DICOM medium; frames: the
further frames of files of which one is read; link: a link that leads nowhere, or to a folder that is read already."""


def printable(name: str) -> str:
    """A file name as it may stand in UTF-8 text: bytes that are not UTF-8 become \\xNN."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class DataError(ValueError):
    """The labeled data cannot be used as it is; the message says why and what to do, in UTF-8 whatever it names."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class Source(Protocol):
    """Where the pixels of a set come from: `name` is the folder or file as the person gave it, for messages."""

    @property
    def name(self) -> str: ...

    def image(self, ref: str) -> Image:
        """Decode one item. Raises DataError that names it."""

    def file(self, ref: str) -> Path | None:
        """The item's own file; None where it has none."""

    def stamp(self, ref: str) -> str:
        """A word that changes when the item's bytes may have changed (size and time of change)."""


@dataclass(frozen=True, slots=True)
class Item:
    """One labeled image."""

    ref: str
    """Its name inside the source: a relative path, or split/index in an npz file."""
    label: int
    """Index into the set's `classes`."""
    split: str
    """train, val, test or another name the data gives; `all` where it gives none."""
    group: str
    """What must never straddle two splits (patient, lesion, tile); the item itself where the data gives none."""
    facts: tuple[tuple[str, str], ...] = ()
    """What else the data says of it, by column of its table: sex, age, scanner, ..."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What of a folder is not in the set, for one reason."""

    reason: Reason
    count: int
    """Files; frames where the reason is frames."""
    examples: tuple[str, ...]
    """The first few paths, relative to the set."""


@dataclass(frozen=True, slots=True)
class Structure:
    """How a set was understood: where its splits and groups come from.

    table: the columns of a manifest; set: what is known of a published set; none, file: the data names none, so splits
    are carved and each file is a group of its own.
    """

    splits: Literal["none", "folders", "folders in classes", "table", "set"] = "set"
    groups: Literal["file", "folders in classes", "folders above classes", "table", "set"] = "set"


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A labeled set or a part of one. `classes` stay the same in every part, so labels mean the same everywhere."""

    classes: tuple[str, ...]
    items: tuple[Item, ...]
    source: Source
    masks: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """The files that outline what is to be seen in an image, by its `ref`; several are to be merged. They are ground
    truth for heat maps and never items. See kdlight.data.masks."""
    left_out: tuple[LeftOut, ...] = ()
    """What of the folder is not in the set; the same in every part."""
    structure: Structure = Structure()
    doubtful: tuple[str, ...] = ()
    """Items (by `ref`) that lie where masks do but hold no mask; each is in the group of the image beside it."""
    not_patients: tuple[str, ...] = ()
    """Numbered folders in the classes of which a class has too few for the splits, so that they are no groups."""

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
        names = {item.split for item in self.items}
        return tuple(sorted(names, key=lambda name: (SPLITS.index(name) if name in SPLITS else len(SPLITS), name)))

    def split(self, name: str) -> Dataset:
        """The items of one split. Raises DataError where it is empty."""
        name = split_word(name) or name
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
        images = Counter(item.label for item in self.items)
        return {name: images[index] for index, name in enumerate(self.classes)}

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
    same = {plain_name(name): name for name in wanted}
    dataset = replace(dataset, classes=tuple(same.get(plain_name(name), name) for name in dataset.classes))
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
