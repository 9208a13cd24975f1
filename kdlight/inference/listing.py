"""The files of a batch: those named, and the scans below named folders, without what is no scan."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdlight.data.masks import paired
from kdlight.data.walk import DICOMDIR, is_image, is_visible


@dataclass(frozen=True, slots=True)
class Listing:
    """What a batch reads and what it leaves out, in the order of the names."""

    files: tuple[Path, ...]
    masks: tuple[Path, ...] = ()
    """Outlines that lie with the images of the named folders; they are no scans."""


def listing(paths: Iterable[Path], without: Path | None = None) -> Listing:
    """Files as named, and all files below named folders in name order; nothing below `without`.

    Of the folders nothing hidden, nothing that a system left there (a recycle bin, the thumbnails of a storage device),
    no DICOMDIR, and no mask (see kdlight.data.masks); the named folders are looked at together, as masks may have one
    of their own.
    """
    named = list(paths)
    outside = Path(os.path.abspath(without)) if without is not None else None
    below = {path: _files_below(path, outside) for path in named if path.is_dir()}
    masks = _masks(list(below), [file for files in below.values() for file in files])
    chosen = dict.fromkeys(
        file
        for path in named
        for file in below.get(path, [path])
        if path not in below or Path(os.path.abspath(file)) not in masks
    )
    return Listing(tuple(chosen), tuple(sorted(masks - {Path(os.path.abspath(file)) for file in chosen})))


def _files_below(folder: Path, outside: Path | None) -> list[Path]:
    inside = (p for p in folder.rglob("*") if all(map(is_visible, p.relative_to(folder).parts)) and p.is_file())
    files = (p for p in inside if not DICOMDIR.fullmatch(p.name))
    return sorted(p for p in files if outside is None or not Path(os.path.abspath(p)).is_relative_to(outside))


def _masks(folders: Sequence[Path], files: Iterable[Path]) -> set[Path]:
    """The masks among the files below the folders, by absolute path."""
    if not folders:
        return set()
    root = Path(os.path.commonpath([os.path.abspath(folder) for folder in folders]))
    images = dict.fromkeys(Path(os.path.abspath(file)) for file in files if _may_be_image(file))
    pairs = paired(root, [file.relative_to(root).parts for file in images])
    masks = (*(mask for of_image in pairs.masks.values() for mask in of_image), *pairs.alone)
    return {root.joinpath(*parts) for parts in masks}


def _may_be_image(file: Path) -> bool:
    """False for what cannot be opened, too: it is refused by name when it is its turn."""
    try:
        return is_image(file)
    except OSError:
        return False
