"""Files as the source of a set's pixels, and the labels that a layout reads as a set."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from kdlight.data.dataset import DataError, Dataset, Item, Structure, plain_name, printable
from kdlight.data.walk import Ledger
from kdlight.images import Image, ImageError, frames_of_set, read_of_set, sniff
from kdlight.images.limits import LIMITS
from kdlight.storage import CONFINED

IN_FOLDERS = "Put each image into a folder named after its class."
FRAMES = "frames"
"""The task that takes every frame of a file as an image: `PATH#frames`."""
_FIRST, _HEADER = 1 << 16, 1 << 22
"""Bytes in which most DICOM headers end, and every one that is looked into."""
_SIGNS = {
    "dicom": (b"\x28\0\x08\0", b"\0\x28\0\x08", b"1.2.840.10008.1.2.1.99"),
    "tiff": (b"",),
    "webp": (b"ANIM",),
    "png": (b"acTL",),
}
"""Bytes without which a file holds one picture: the tag of Number of Frames, or the syntax that deflates it."""


class Row(NamedTuple):
    """One file of a set."""

    path: str
    """Below the set's folder, or an absolute one."""
    name: str
    """Its class."""
    split: str
    group: str
    facts: tuple[tuple[str, str], ...] = ()
    """Of the table's other columns, name and value."""


@dataclass(slots=True)
class Labels:
    """What a layout reads: a row per file, and what else was understood."""

    rows: list[Row] = field(default_factory=list)
    masks: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    """The masks of an image, by its path."""
    ledger: Ledger = field(default_factory=Ledger)
    structure: Structure = field(default_factory=Structure)
    doubtful: Mapping[str, str] = field(default_factory=dict)
    """Paths of images that lie where a mask does, with that of the image beside."""
    not_patients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """A published set that is known by how its folders look."""

    summary: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, str], Labels]
    """(folder, task or "") to the labels."""
    tasks: Mapping[str, str] = field(default_factory=dict)
    """Other questions that the set can be asked, by name, with what each is."""


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Files under `root`; a ref is a path relative to it (or an absolute one, where a table gives it)."""

    root: Path
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """File and frame of the refs that are not simply the path of a file: `path#3` for its third frame, and names whose
    bytes are not UTF-8."""

    @property
    def name(self) -> str:
        return str(self.root)

    def image(self, ref: str) -> Image:
        return decode_file(self.file(ref), self.places.get(ref, (ref, 0))[1])

    def file(self, ref: str) -> Path:
        return self.root / self.places.get(ref, (ref, 0))[0]

    def stamp(self, ref: str) -> str:
        try:
            stat = self.file(ref).stat()
        except OSError as error:
            raise DataError(f"{ref} in {self.name} cannot be opened: {error.strerror}. Restore it.") from error
        return f"{stat.st_size}:{stat.st_mtime_ns}"


def decode_file(path: Path, frame: int = 0) -> Image:
    """Decode one frame in the sandbox. Raises DataError that names the file and says why; none is ever replaced."""
    try:
        if path.stat().st_size > LIMITS.bytes:
            raise DataError(f"{path} is larger than {LIMITS.bytes // 2**20} MB; make it smaller or remove it.")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}. Restore it or remove it from the set.") from error
    try:
        return read_of_set(data, frame)
    except ValueError as error:
        raise DataError(f"{path} cannot be read as an image. {error} Replace it or remove it from the set.") from error


@lru_cache(maxsize=200_000)
def frame_count(path: Path, _size: int, _changed: int) -> int:
    """Frames of a DICOM file, pages of a TIFF, pictures of an animated WebP or PNG, from the header alone.

    1 for every other file, and where the header cannot be read: what is wrong is said when the file is decoded.
    """
    with path.open("rb") as file:
        data = file.read(_FIRST)
        kind = sniff(data) or ""
        if kind == "dicom" and not any(tag in data for tag in (b"\xe0\x7f\x10\0", b"\x7f\xe0\0\x10")):
            data += file.read(_HEADER)
        signs = [sign for sign in _SIGNS.get(kind, ()) if sign in data]
        if kind != "dicom" or _SIGNS["dicom"][2] in signs:  # whose header does not stand at the beginning
            data += file.read(LIMITS.bytes) if signs else b""
    with contextlib.suppress(ImageError):
        return frames_of_set(data) if signs else 1
    return 1


def labeled(root: Path, labels: Labels, task: str = "") -> Dataset:
    """Labels as a set, sorted so that the order never hangs on the file system. Raises DataError.

    Of a file of several frames the first is read and the others are counted as left out; with the task FRAMES each is
    an image of the file's group. An image that lies where a mask does is in the group of the image beside it.
    """
    _require_inside(root, labels)
    rows, ledger = sorted(labels.rows), labels.ledger
    if not rows:
        sets = sorted(path.name for path in root.iterdir() if path.suffix.lower() in (".npz", ".csv"))
        raise DataError(
            f"{root} holds no labeled images; <split>/<class>/<file> or <class>/<file> was expected. "
            + (f"Give one of the sets in it: {', '.join(sets)}." if sets else IN_FOLDERS)
        )
    names = _class_names(root, {row.name for row in rows})
    classes = tuple(sorted(set(names.values())))
    groups = {row.path: row.group for row in rows}
    beside = {path: groups[image] for path, image in labels.doubtful.items() if path in groups and image in groups}
    places: dict[str, tuple[str, int]] = {}

    def group(row: Row) -> str:
        return plain_name(printable(beside.get(row.path, row.group)))

    items = [
        Item(ref, classes.index(names[row.name]), row.split, group(row), row.facts)
        for row in rows
        for ref in _refs(root, row.path, ledger, places, task)
    ]
    return Dataset(
        classes,
        tuple(items),
        FolderSource(root, places),
        {printable(path): masks for path, masks in labels.masks.items()},
        ledger.left_out(),
        labels.structure,
        tuple(sorted(map(printable, beside))),
        labels.not_patients,
    )


def _require_inside(root: Path, labels: Labels) -> None:
    """Raise DataError where this process is confined and a file of the set lies elsewhere, links followed."""
    if not os.environ.get(CONFINED):
        return
    home = os.path.realpath(root)
    inside = lru_cache(None)(lambda place: Path(os.path.realpath(place)).is_relative_to(home))
    for file in (*(root / row.path for row in labels.rows), *(one for masks in labels.masks.values() for one in masks)):
        if not inside(file.parent) or (file.is_symlink() and not inside(file)):
            raise DataError(f"A file of {root.name} lies outside it; the app reads what lies inside. Copy it there.")


def _refs(root: Path, path: str, ledger: Ledger, places: dict[str, tuple[str, int]], task: str) -> list[str]:
    """What the images of a file are called in the set; `places` learns where those are that are no plain path."""
    stat, ref = (root / path).stat(), printable(path)
    frames = frame_count(root / path, stat.st_size, stat.st_mtime_ns)
    if frames > 1 and task == FRAMES:
        refs = {f"{ref}#{frame + 1}": (path, frame) for frame in range(frames)}
        places.update(refs)
        return list(refs)
    if frames > 1:
        ledger.add("frames", path)
        ledger.frames += frames - 1
    if ref != path:
        places[ref] = (path, 0)
    return [ref]


def _class_names(root: Path, written: Iterable[str]) -> dict[str, str]:
    """Each way of writing a class to its name: two Unicode forms are one; other differences are refused."""
    names: dict[str, str] = {}
    by_fold: dict[str, str] = {}
    for name in sorted(written):
        if name != printable(name):
            raise DataError(f"{root} has a class {printable(name)!r}, whose name is not UTF-8. Rename its folder.")
        form = unicodedata.normalize("NFC", name)
        other = by_fold.setdefault(" ".join(form.casefold().split()), form)
        if other != form:
            raise DataError(f"{root} has classes {other!r} and {form!r}; one way of writing was expected. Rename one.")
        names[name] = plain_name(name)
    return names
