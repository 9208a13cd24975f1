"""Walking a folder: what a person put there, each folder once, and an account of what is passed over."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from kdlight.data.dataset import LeftOut, Reason, printable
from kdlight.images import recall, sniff

Parts = tuple[str, ...]
"""The parts of a path below the set's folder."""
SYSTEM = re.compile(
    r"thumbs\.db(:.*)?|ehthumbs\.db|desktop\.ini|icon\r|~\$.*|__macosx|__pycache__|lost\+found|recycler"
    r"|\$recycle\.bin|system volume information|found\.\d{3}|[@#](eadir|recycle|recently-snapshot|snapshot|tmp|sharebin"
    r"|syno.*)|\.(ds_store|_.*|appledouble|ipynb_checkpoints|fseventsd|spotlight-v100|temporaryitems|trashes|trash-\d+)",
    re.IGNORECASE,
)
"""What operating systems, network storage and notebooks leave in folders."""
DICOMDIR = re.compile(r"dicomdir", re.IGNORECASE)
"""A file of this name lists the files of a DICOM medium (PS3.10 section 8.6) and holds no image."""
_READ = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom", ".ima")
_REFUSED = (".gif", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".nii", ".mha", ".mhd", ".nrrd", ".svs", ".ndpi")
SUFFIXES = frozenset((*_READ, *_REFUSED))
"""Endings of what is meant as an image: such a file is never left out unsaid, it is read or refused by name."""
HEAD = 1024
"""Bytes that tell an image by its content."""
NAMED = 3
"""Examples kept of what is left out for one reason."""
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(slots=True)
class Ledger:
    """What is left out, by reason."""

    rows: dict[Reason, list[str]] = field(default_factory=lambda: defaultdict(list))
    frames: int = 0
    """Frames that the files under `frames` hold beyond the first."""

    def add(self, reason: Reason, *refs: str) -> None:
        self.rows[reason].extend(printable(ref) for ref in refs)

    def left_out(self) -> tuple[LeftOut, ...]:
        return tuple(
            LeftOut(reason, self.frames if reason == "frames" else len(refs), tuple(sorted(refs)[:NAMED]))
            for reason, refs in sorted(self.rows.items())
            if refs
        )


@dataclass(frozen=True, slots=True)
class Tree:
    """The visible files and folders below a root, as the parts of their paths, sorted."""

    root: Path
    files: tuple[Parts, ...]
    folders: tuple[Parts, ...]
    ledger: Ledger


def in_threads(
    call: Callable[[In], Out], values: Sequence[In], progress: Callable[[int, int], None] | None = None
) -> Iterator[Out]:
    """`call` of each value, in order, several at once; after an error none is begun that was not."""
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        for done, result in enumerate(pool.map(call, values), start=1):
            if progress and (done % 16 == 0 or done == len(values)):
                progress(done, len(values))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
        recall()


def walk(root: Path) -> Tree:
    """Every file below `root` that a person put there.

    A folder is entered once, by its own path before any link to it; a link to a folder that is read already, as in a
    loop, is cut and counted.
    """
    ledger = Ledger()
    files: list[Parts] = []
    folders: list[Parts] = []
    entered: set[tuple[int, int]] = set()
    waiting: list[Parts] = [()]
    links: list[Parts] = []
    while waiting or links:
        here = waiting.pop() if waiting else links.pop(0)
        stat = root.joinpath(*here).stat()
        if (stat.st_dev, stat.st_ino) in entered:
            ledger.add("link", "/".join(here))
            continue
        entered.add((stat.st_dev, stat.st_ino))
        folders.append(here)
        for place in sorted(root.joinpath(*here).iterdir()):
            parts, reason = (*here, place.name), _reason(place)
            if reason is not None:
                ledger.add(reason, *("/".join((*here, *below)) for below in _files_of(place)))
            elif place.is_dir():
                (links if place.is_symlink() else waiting).append(parts)
            elif place.is_file():
                files.append(parts)
            else:
                ledger.add("link", "/".join(parts))
    return Tree(root, tuple(sorted(files)), tuple(sorted(folders)), ledger)


def _files_of(place: Path) -> list[Parts]:
    """The files that a path stands for: itself, or all below it, links not followed."""
    if place.is_symlink() or not place.is_dir():
        return [(place.name,)]
    below = (Path(folder, name) for folder, _, names in os.walk(place) for name in names)
    return [path.relative_to(place.parent).parts for path in below]


def is_visible(name: str) -> bool:
    """Whether a person gave a file or folder this name."""
    return not name.startswith(".") and not SYSTEM.fullmatch(name)


def _reason(place: Path) -> Reason | None:
    """Why a file or folder is left out by its name; None where it is not."""
    if DICOMDIR.fullmatch(place.name) and not place.is_dir():
        return "dicomdir"
    return None if is_visible(place.name) else "system" if SYSTEM.fullmatch(place.name) else "hidden"


def is_image(path: Path) -> bool:
    """Whether a file is an image by its content, or is meant as one by its ending."""
    if path.suffix.lower() in SUFFIXES or path.name.lower().endswith(".nii.gz"):
        return True
    with path.open("rb") as file:
        return sniff(file.read(HEAD)) is not None


def images_of(tree: Tree) -> list[Parts]:
    """The files that are images; the others are counted as left out."""
    images = [parts for parts in tree.files if is_image(tree.root.joinpath(*parts))]
    tree.ledger.add("not-an-image", *("/".join(parts) for parts in sorted({*tree.files} - {*images})))
    return images


def visible_folders(root: Path) -> list[Path]:
    """The folders in a folder that a person put there, sorted."""
    return sorted(path for path in root.iterdir() if path.is_dir() and is_visible(path.name)) if root.is_dir() else []


def visible_files(folder: Path) -> list[Path]:
    """The images in a folder and the folders below it, sorted; none where there is no such folder."""
    return [folder.joinpath(*parts) for parts in images_of(walk(folder))] if folder.is_dir() else []
