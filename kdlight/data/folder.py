"""A folder of images as a labeled set: `<split>/<class>/<file>` or `<class>/<file>`.

Folders below a class are patients or splits (kdlight.data.levels); masks beside the images are no images
(kdlight.data.masks); what is left out is counted by reason (kdlight.data.walk).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kdlight.data.dataset import UNSPLIT, DataError, Structure, plain_name, split_word
from kdlight.data.files import Labels, Row
from kdlight.data.levels import group_level, patient_level, patients_above, require_one_folder, split_level
from kdlight.data.masks import paired
from kdlight.data.walk import Parts, Tree, images_of, walk

_IMAGES = re.compile(r"images?|imgs?|pictures?|originals?", re.IGNORECASE)
"""Names of a folder that says no more than that images lie in it."""


class Place(NamedTuple):
    """An image and the folders it lies in, without those that only hold images."""

    path: str
    folders: Parts


def read_folder(root: Path) -> Labels:
    """The labels that the names of folders give. Raises DataError."""
    tree = walk(root)
    pairs = paired(root, images_of(tree))
    labels = _rows(root, _places(pairs.images))
    _require_full_classes(tree, labels)
    pairs.count(tree.ledger)
    labels.masks, labels.doubtful, labels.ledger = pairs.files(root), pairs.beside, tree.ledger
    return labels


def _places(images: Sequence[Parts]) -> list[Place]:
    """The images with their folders; one called `images` is passed over where all that its parent holds lies in it."""
    inside: dict[Parts, set[str]] = defaultdict(set)
    for parts in images:
        for depth in range(len(parts)):
            inside[parts[:depth]].add(parts[depth])
    places = []
    for parts in images:
        silent = [bool(_IMAGES.fullmatch(parts[d])) and len(inside[parts[:d]]) == 1 for d in range(len(parts) - 1)]
        folders = tuple(part for part, says_nothing in zip(parts, silent, strict=False) if not says_nothing)
        places.append(Place("/".join(parts), folders or parts[:-1]))
    return places


def _rows(root: Path, places: Sequence[Place]) -> Labels:
    """The images with class, split and group, what was understood, and the folders that are too few for patients."""
    tops = {place.folders[0] for place in places if place.folders}
    above = sorted(top for top in tops if split_word(top))
    if above and len(above) != len(tops):
        raise DataError(
            f"{root} holds split folders ({', '.join(above)}) beside {min(tops - set(above))!r}; either only splits "
            f"or only classes were expected there. Move it, or write a manifest.csv (path, class, split, group)."
        )
    require_one_folder(root, above)
    first = 1 if above else 0
    _require_none_loose(root, places, first + 1)
    inner = [place.folders[first:] for place in places]
    if turned := patients_above(inner):
        inner = [(name, patient, *rest) for patient, name, *rest in inner]
    level = None if above else split_level([(name, tuple(rest)) for name, *rest in inner], root)
    below = [(name, (*rest[:level], *rest[level + 1 :]) if level is not None else tuple(rest)) for name, *rest in inner]
    patients, few = (group_level([rest for _, rest in below]), ()) if turned else patient_level(below)
    rows = []
    for place, folders, (name, rest) in zip(places, inner, below, strict=True):
        split = place.folders[0] if above else "" if level is None else folders[level + 1]
        group = plain_name(rest[patients]) if patients is not None and len(rest) > patients else place.path
        rows.append(Row(place.path, name, split_word(split) or UNSPLIT, group))
    structure = Structure(
        "folders" if above else "none" if level is None else "folders in classes",
        "file" if patients is None else "folders above classes" if turned else "folders in classes",
    )
    return Labels(rows, structure=structure, not_patients=few)


def _require_none_loose(root: Path, places: Sequence[Place], depth: int) -> None:
    """Raise DataError where images lie beside the class folders, which give an image its class."""
    loose = [place for place in places if len(place.folders) < depth]
    if loose:
        first = root / loose[0].path
        raise DataError(
            f"{len(loose)} image(s) lie loose in {first.parent} ({first.name}); each in the folder of its class was "
            f"expected. Move them there or out of the set, or write a manifest.csv (path, class, split, group)."
        )


def _require_full_classes(tree: Tree, labels: Labels) -> None:
    """Raise DataError where a class folder is empty in every split."""
    depth = 2 if labels.structure.splits == "folders" else 1
    full = {parts[:n] for parts in tree.files for n in range(1, len(parts))}
    empty = {plain_name(f[-1]) for f in tree.folders if len(f) == depth and f not in full}
    empty -= {plain_name(row.name) for row in labels.rows}
    if labels.rows and empty:
        names = ", ".join(sorted(empty))
        raise DataError(f"{tree.root} has no image of class {names}; add images or remove the empty folder.")
