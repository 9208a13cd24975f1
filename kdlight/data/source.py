"""Files as the source of a set's pixels, and rows of a folder or a table as a set."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kdlight.data.dataset import DataError, Dataset, Item, Structure, plain_name, printable
from kdlight.data.decode import decode_file
from kdlight.data.frames import frame_count
from kdlight.data.walk import Ledger
from kdlight.images import Image

Row = tuple[str, str, str, str]
"""Path below the set's folder (or an absolute one), class, split, group."""
FRAMES = "frames"
"""The task that takes every frame of a file as an image: `PATH#frames`."""


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
            found = self.file(ref).stat()
        except OSError as error:
            raise DataError(f"{ref} in {self.name} cannot be opened: {error.strerror}. Restore it.") from error
        return f"{found.st_size}:{found.st_mtime_ns}"


def labelled(
    root: Path,
    rows: Iterable[Row],
    masks: Mapping[str, tuple[Path, ...]] | None = None,
    ledger: Ledger | None = None,
    structure: Structure | None = None,
    task: str = "",
) -> Dataset:
    """Rows as a set, sorted so that the order never hangs on the file system.

    Of a file of several frames the first is read, as everywhere where no frame is named, and the others are left out
    and counted; with the task FRAMES each is an image of the file's group. Raises DataError.
    """
    rows, ledger = sorted(rows), ledger or Ledger()
    if not rows:
        raise DataError(
            f"{root} holds no labelled images; <split>/<class>/<file> or <class>/<file> was expected. "
            f"Put each image into a folder named after its class."
        )
    names = _class_names(root, {name for _, name, _, _ in rows})
    classes = tuple(sorted(set(names.values())))
    index = {name: classes.index(plain) for name, plain in names.items()}
    places: dict[str, tuple[str, int]] = {}
    items = [
        Item(ref, index[name], split, plain_name(printable(group)))
        for path, name, split, group in rows
        for ref in _refs(root, path, ledger, places, task)
    ]
    outlines = {printable(ref): paths for ref, paths in (masks or {}).items()}
    return Dataset(
        classes, tuple(items), FolderSource(root, places), outlines, ledger.left_out(), structure or Structure()
    )


def _refs(root: Path, path: str, ledger: Ledger, places: dict[str, tuple[str, int]], task: str) -> list[str]:
    """What the images of a file are called in the set; `places` learns where those are that are no plain path."""
    frames, ref = frame_count(root / path), printable(path)
    if frames > 1 and task == FRAMES:
        found = [f"{ref}#{number}" for number in range(1, frames + 1)]
        places.update({name: (path, frame) for frame, name in enumerate(found)})
        return found
    if frames > 1:
        ledger.add("frames", path)
        ledger.frames += frames - 1
    if ref != path:
        places[ref] = (path, 0)
    return [ref]


def _class_names(root: Path, found: set[str]) -> dict[str, str]:
    """Each way of writing a class to its name: two Unicode forms are one; other differences are refused."""
    names: dict[str, str] = {}
    by_fold: dict[str, str] = {}
    for name in sorted(found):
        if name != printable(name):
            raise DataError(f"{root} has a class {printable(name)!r}, whose name is not UTF-8. Rename its folder.")
        form = unicodedata.normalize("NFC", name)
        other = by_fold.setdefault(" ".join(form.casefold().split()), form)
        if other != form:
            raise DataError(f"{root} has classes {other!r} and {form!r}; one way of writing was expected. Rename one.")
        names[name] = plain_name(name)
    return names
