"""A folder of images as a labelled set: `<split>/<class>/<file>` or `<class>/<file>`, or what its manifest.csv says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kdlight.data.dataset import SPLIT_WORDS, UNSPLIT, DataError, Dataset, Item
from kdlight.data.decode import decode_file
from kdlight.data.table import read_table
from kdlight.images import Image, sniff

MANIFEST = "manifest.csv"
IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}
"""What operating systems leave in folders; names that start with a dot are ignored too."""
HEAD = 1024
"""Bytes that tell an image by its content."""


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Files under `root`; a ref is a path relative to it (or an absolute one, where a table gives it)."""

    root: Path

    @property
    def name(self) -> str:
        return str(self.root)

    def image(self, ref: str) -> Image:
        return decode_file(self.root / ref)

    def stamp(self, ref: str) -> str:
        try:
            found = (self.root / ref).stat()
        except OSError as error:
            raise DataError(f"{ref} in {self.name} cannot be opened: {error.strerror}. Restore it.") from error
        return f"{found.st_size}:{found.st_mtime_ns}"


def open_folder(root: Path) -> Dataset:
    """The set in a folder. With a manifest.csv only what it lists belongs to the set. Raises DataError."""
    if (root / MANIFEST).is_file():
        return open_table(root / MANIFEST, inside=True)
    tops = visible_folders(root)
    splits = [top for top in tops if top.name.lower() in SPLIT_WORDS]
    if splits and len(splits) != len(tops):
        other = next(top.name for top in tops if top not in splits)
        raise DataError(
            f"{root} holds split folders ({', '.join(s.name for s in splits)}) beside {other!r}; either only splits or "
            f"only classes were expected there. Move it, or write a manifest.csv (path, class, split, group)."
        )
    for folder in (root, *splits):
        _require_none_loose(folder)
    homes = [
        (SPLIT_WORDS[top.name.lower()] if splits else UNSPLIT, folder)
        for top in tops
        for folder in (visible_folders(top) if splits else [top])
    ]
    found = [
        (path.relative_to(root).as_posix(), folder.name, split)
        for split, folder in homes
        for path in visible_files(folder)
    ]
    empty = sorted({folder.name for _, folder in homes} - {name for _, name, _ in found})
    if found and empty:
        raise DataError(f"{root} has no image of class {', '.join(empty)}; add images or remove the empty folder.")
    return labelled(root, [(ref, name, split, ref) for ref, name, split in found])


def _require_none_loose(folder: Path) -> None:
    """Raise DataError where images lie beside the class folders, which give an image its class."""
    loose = [path.name for path in sorted(folder.iterdir()) if path.is_file() and _visible(path) and _is_image(path)]
    if loose:
        raise DataError(
            f"{len(loose)} image(s) lie loose in {folder} ({loose[0]}); each in the folder of its class was expected. "
            f"Move them there or out of the set, or write a manifest.csv (path, class, split, group)."
        )


def open_table(path: Path, inside: bool = False) -> Dataset:
    """The set that a CSV lists: path (relative to the CSV), class, and where given split and group.

    `inside`: paths must stay inside the CSV's folder. Raises DataError that names the line.
    """
    root = path.parent
    rows: list[tuple[str, str, str, str]] = []
    lines: dict[str, int] = {}
    for line, row in read_table(path, ("path", "class")):
        ref, where = row["path"], f"{path.name} line {line}"
        if inside and (Path(ref).is_absolute() or ".." in Path(ref).parts):
            raise DataError(f"{where}: {ref} lies outside {root}; give a path inside the folder.")
        if ref in lines:
            raise DataError(f"{where}: {ref} is listed already on line {lines[ref]}; list each file once.")
        if not (root / ref).is_file():
            raise DataError(f"{where}: {ref} does not exist in {root}; remove the line or restore the file.")
        lines[ref] = line
        split = row.get("split") or UNSPLIT
        rows.append((ref, row["class"], SPLIT_WORDS.get(split.lower(), split), row.get("group") or ref))
    return labelled(root, rows)


def labelled(root: Path, rows: list[tuple[str, str, str, str]]) -> Dataset:
    """Rows of (ref, class, split, group), sorted so that the order never hangs on the file system."""
    if not rows:
        raise DataError(
            f"{root} holds no labelled images; <split>/<class>/<file> or <class>/<file> was expected. "
            f"Put each image into a folder named after its class."
        )
    classes = tuple(sorted({name for _, name, _, _ in rows}))
    by_fold: dict[str, str] = {}
    for name in classes:
        other = by_fold.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            raise DataError(f"{root} has classes {other!r} and {name!r}; one way of writing was expected. Rename one.")
    index = {name: position for position, name in enumerate(classes)}
    items = tuple(Item(ref, index[name], split, group) for ref, name, split, group in sorted(rows))
    return Dataset(classes, items, FolderSource(root))


def _visible(path: Path) -> bool:
    return not path.name.startswith(".") and path.name.lower() not in IGNORED


def _is_image(path: Path) -> bool:
    with path.open("rb") as file:
        return sniff(file.read(HEAD)) is not None


def visible_folders(root: Path) -> list[Path]:
    """The folders in a folder that a person put there, sorted."""
    return sorted(path for path in root.iterdir() if path.is_dir() and _visible(path))


def visible_files(folder: Path) -> list[Path]:
    """The files a person put into a folder or the folders below it, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and all(_visible(part) for part in (path, *path.relative_to(folder).parents[:-1]))
    )
