"""A table of images as a labelled set: path, class, and where known split and group."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from kdlight.data.dataset import UNSPLIT, DataError, Dataset, Structure, split_word
from kdlight.data.folder import outlines, with_doubtful
from kdlight.data.masks import paired
from kdlight.data.source import Row, labelled
from kdlight.data.table import read_table
from kdlight.data.walk import Ledger, images_of, walk

MANIFEST = "manifest.csv"


def open_table(path: Path, inside: bool = False, task: str = "") -> Dataset:
    """The set that a CSV lists: path (relative to the CSV), class, and where given split and group.

    `inside`: it is the manifest of its folder; paths must stay inside, the masks in the folder belong to its images,
    and the images that it does not list are left out and counted. Raises DataError that names the line.
    """
    root, rows = path.parent, _rows(path, inside)
    structure = Structure(
        "table" if any(split != UNSPLIT for _, _, split, _ in rows) else "none",
        "table" if any(group != ref for ref, _, _, group in rows) else "file",
    )
    if not inside:
        return labelled(root, rows, structure=structure, task=task)
    listed = {tuple(Path(ref).parts) for ref, _, _, _ in rows}
    tree = walk(root)
    there = images_of(tree)
    pairs = paired(root, [*sorted(listed), *(parts for parts in there if parts not in listed)])
    ledger = Ledger()
    masks = {ref: found for ref, found in outlines(root, pairs, ledger).items() if tuple(Path(ref).parts) in listed}
    images = set(pairs.images)
    ledger.add("not-listed", *("/".join(parts) for parts in there if parts in images and parts not in listed))
    kept = [row for row in rows if tuple(Path(row[0]).parts) in images]
    return with_doubtful(labelled(root, kept, masks, ledger, structure, task), pairs)


def _rows(path: Path, inside: bool) -> list[Row]:
    rows: list[Row] = []
    lines: dict[str, int] = {}
    for line, row in read_table(path, ("path", "class")):
        ref, where = _as_written_here(path.parent, row["path"]), f"{path.name} line {line}"
        if inside and (Path(ref).is_absolute() or ".." in Path(ref).parts):
            raise DataError(f"{where}: {ref} lies outside {path.parent}; give a path inside the folder.")
        if ref in lines:
            raise DataError(f"{where}: {ref} is listed already on line {lines[ref]}; list each file once.")
        if not (path.parent / ref).is_file():
            raise DataError(f"{where}: {ref} does not exist in {path.parent}; remove the line or restore the file.")
        lines[ref] = line
        split = row.get("split") or UNSPLIT
        rows.append((ref, row["class"], split_word(split) or split, row.get("group") or ref))
    return rows


def _as_written_here(root: Path, ref: str) -> str:
    """The path as this machine has it: with slashes where Windows wrote it, in the Unicode form of the file's name."""
    ways = [way for text in (ref, ref.replace("\\", "/")) for way in (text, *_forms(text))]
    return next((way for way in ways if (root / way).is_file()), ref)


def _forms(text: str) -> tuple[str, str]:
    return unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)
