"""A folder of images as a labelled set: `<split>/<class>/<file>` or `<class>/<file>`.

Folders below a class are patients or splits (kdlight.data.levels); masks beside the images are no images
(kdlight.data.masks); what is left out is counted by reason (kdlight.data.walk).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kdlight.data.dataset import UNSPLIT, DataError, Dataset, Structure, plain_name, printable, split_word
from kdlight.data.levels import Folders, group_level, patient_level, patients_above, split_level
from kdlight.data.masks import Paired, Parts, paired
from kdlight.data.source import FolderSource, Row, labelled
from kdlight.data.walk import Ledger, Tree, images_of, walk

__all__ = ["FolderSource", "labelled", "open_folder"]

_IMAGES = re.compile(r"images?|imgs?|pictures?|originals?", re.IGNORECASE)
"""Names of a folder that says no more than that images lie in it."""


@dataclass(frozen=True, slots=True)
class Place:
    """An image and the folders it lies in, without those that only hold images."""

    path: str
    folders: Folders


def open_folder(root: Path, task: str = "") -> Dataset:
    """The set in a folder, by its folders' names alone. Raises DataError."""
    tree = walk(root)
    pairs = paired(root, images_of(tree))
    places = _places(pairs.images)
    rows, structure, not_patients = _rows(root, places)
    _require_full_classes(tree, rows, structure)
    masks = outlines(root, pairs, tree.ledger)
    dataset = labelled(root, rows, masks, tree.ledger, structure, task)
    return with_doubtful(replace(dataset, not_patients=not_patients), pairs)


def with_doubtful(dataset: Dataset, pairs: Paired) -> Dataset:
    """The set with each image that lies where a mask does in the group of the image beside it."""
    beside = {printable("/".join(parts)): printable("/".join(image)) for parts, image in pairs.doubtful.items()}
    groups = {item.ref: item.group for item in dataset.items}
    found = {ref: groups[image] for ref, image in beside.items() if ref in groups and image in groups}
    items = tuple(replace(item, group=found.get(item.ref, item.group)) for item in dataset.items)
    return replace(dataset, items=items, doubtful=tuple(sorted(found)))


def outlines(root: Path, pairs: Paired, ledger: Ledger) -> dict[str, tuple[Path, ...]]:
    """The masks by the path of their image; they and those without an image are counted as left out."""
    ledger.add("mask", *("/".join(mask) for masks in pairs.masks.values() for mask in masks))
    ledger.add("mask-without-image", *("/".join(mask) for mask in pairs.alone))
    return {"/".join(image): tuple(root.joinpath(*m) for m in masks) for image, masks in pairs.masks.items()}


def _places(images: Sequence[Parts]) -> list[Place]:
    """The images with their folders; one called `images` is passed over where all that its parent holds lies in it."""
    inside: dict[Parts, set[str]] = defaultdict(set)
    for parts in images:
        for depth in range(len(parts)):
            inside[parts[:depth]].add(parts[depth])

    def says_nothing(parts: Parts, depth: int) -> bool:
        return bool(_IMAGES.fullmatch(parts[depth])) and len(inside[parts[:depth]]) == 1

    return [
        Place("/".join(parts), folders or parts[:-1])
        for parts in images
        for folders in [tuple(parts[d] for d in range(len(parts) - 1) if not says_nothing(parts, d))]
    ]


def _rows(root: Path, places: Sequence[Place]) -> tuple[list[Row], Structure, tuple[str, ...]]:
    """The images with class, split and group, what was understood, and the folders that are too few for patients."""
    tops = {place.folders[0] for place in places if place.folders}
    above = sorted(top for top in tops if split_word(top))
    if above:
        _require_plain_splits(root, above, tops)
    _require_none_loose(root, places, 2 if above else 1)
    first = 1 if above else 0
    turned = patients_above([place.folders[first:] for place in places])
    classed = [_class_first(place.folders[first:], turned) for place in places]
    level = None if above else split_level(classed, root)
    below = [folders if level is None else folders[:level] + folders[level + 1 :] for _, folders in classed]
    named = [(name, rest) for (name, _), rest in zip(classed, below, strict=True)]
    patients, few = (group_level(below), ()) if turned else patient_level(named)
    rows = []
    for place, (name, folders), rest in zip(places, classed, below, strict=True):
        word = place.folders[0] if above else "" if level is None else folders[level]
        group = plain_name(rest[patients]) if patients is not None and len(rest) > patients else place.path
        rows.append((place.path, name, split_word(word) or UNSPLIT, group))
    structure = Structure(
        "folders" if above else "none" if level is None else "folders in classes",
        "file" if patients is None else "folders above classes" if turned else "folders in classes",
    )
    return rows, structure, few


def _class_first(folders: Folders, turned: bool) -> tuple[str, Folders]:
    """The class and the other folders; `turned` where the patient stands before the class."""
    return (folders[1], (folders[0], *folders[2:])) if turned else (folders[0], folders[1:])


def _require_plain_splits(root: Path, splits: Sequence[str], tops: set[str]) -> None:
    """Raise DataError where classes lie beside splits, or one split has two folders."""
    if len(splits) != len(tops):
        other = min(tops - set(splits))
        raise DataError(
            f"{root} holds split folders ({', '.join(splits)}) beside {other!r}; either only splits or "
            f"only classes were expected there. Move it, or write a manifest.csv (path, class, split, group)."
        )
    words = [split_word(name) for name in splits]
    twice = [name for name in splits if words.count(split_word(name)) > 1]
    if twice:
        raise DataError(
            f"{root} holds {' and '.join(twice)}, which are all the {split_word(twice[0])} split; one folder was "
            f"expected. Put them together, or rename the one that is something else."
        )


def _require_none_loose(root: Path, places: Sequence[Place], depth: int) -> None:
    """Raise DataError where images lie beside the class folders, which give an image its class."""
    loose = [place for place in places if len(place.folders) < depth]
    if loose:
        first = root / loose[0].path
        raise DataError(
            f"{len(loose)} image(s) lie loose in {first.parent} ({first.name}); each in the folder of its class was "
            f"expected. Move them there or out of the set, or write a manifest.csv (path, class, split, group)."
        )


def _require_full_classes(tree: Tree, rows: Sequence[Row], structure: Structure) -> None:
    """Raise DataError where a class folder is empty in every split."""
    depth = 2 if structure.splits == "folders" else 1
    held = {parts[:n] for parts in tree.files for n in range(1, len(parts))}
    empty = {plain_name(f[-1]) for f in tree.folders if len(f) == depth and f not in held}
    empty -= {plain_name(name) for _, name, _, _ in rows}
    if rows and empty:
        names = ", ".join(sorted(empty))
        raise DataError(f"{tree.root} has no image of class {names}; add images or remove the empty folder.")
