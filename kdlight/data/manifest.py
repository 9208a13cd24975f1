"""A table of images as a labeled set: path, class, and where known split and group."""

from __future__ import annotations

import codecs
import csv
import os
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

from kdlight.data.dataset import UNSPLIT, DataError, Structure, split_word
from kdlight.data.files import Labels, Row
from kdlight.data.masks import paired
from kdlight.data.walk import Ledger, images_of, walk
from kdlight.storage import CONFINED

MANIFEST = "manifest.csv"
COLUMNS = ("path", "class", "split", "group")


def read_manifest(path: Path, inside: bool = False) -> Labels:
    """What a CSV lists: path (relative to the CSV), class, and where given split and group.

    `inside`: it is the manifest of its folder; paths must stay inside, the masks in the folder belong to its images,
    and the images that it does not list are left out and counted. Raises DataError that names the line.
    """
    root, rows = path.parent, _rows(path, inside)
    structure = Structure(
        "table" if any(row.split != UNSPLIT for row in rows) else "none",
        "table" if any(row.group != row.path for row in rows) else "file",
    )
    if not inside:
        return Labels(rows, structure=structure)
    listed = {tuple(Path(row.path).parts) for row in rows}
    there, ledger = images_of(walk(root)), Ledger()
    pairs = paired(root, [*sorted(listed), *(parts for parts in there if parts not in listed)])
    images = set(pairs.images)
    pairs.count(ledger)
    ledger.add("not-listed", *("/".join(parts) for parts in there if parts in images and parts not in listed))
    masks = {image: files for image, files in pairs.files(root).items() if tuple(Path(image).parts) in listed}
    present = [row for row in rows if tuple(Path(row.path).parts) in images]
    return Labels(present, masks, ledger, structure, pairs.beside)


def _rows(path: Path, inside: bool) -> list[Row]:
    rows: list[Row] = []
    lines: dict[str, int] = {}
    for line, row in read_table(path, ("path", "class"), known=None):
        ref, where = _as_written_here(path.parent, row["path"]), f"{path.name} line {line}"
        if (inside or os.environ.get(CONFINED)) and (Path(ref).is_absolute() or ".." in Path(ref).parts):
            raise DataError(f"{where}: its path lies outside {path.parent}; give a path inside the folder.")
        if ref in lines:
            raise DataError(f"{where}: its file is listed already on line {lines[ref]}; list each file once.")
        if not (path.parent / ref).is_file():
            place = "there" if Path(ref).is_absolute() else f"in {path.parent}"
            raise DataError(f"{where}: its file {ref} is not {place}; remove the line or restore the file.")
        lines[ref] = line
        split = row.get("split") or UNSPLIT
        facts = tuple((name, value) for name, value in row.items() if value and name not in COLUMNS)
        rows.append(Row(ref, row["class"], split_word(split) or split, row.get("group") or ref, facts))
    return rows


def _as_written_here(root: Path, ref: str) -> str:
    """The path as this machine has it: with slashes where Windows wrote it, in the Unicode form of the file's name."""
    slashes = ref.replace("\\", "/")
    forms = [text for way in (ref, slashes) for text in (way, normalize("NFC", way), normalize("NFD", way))]
    return next((form for form in forms if (root / form).is_file()), ref)


def read_table(
    path: Path, required: tuple[str, ...], known: tuple[str, ...] | None = COLUMNS
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) for every row of a CSV, its `known` columns only (None: all), spaces stripped.

    Cells are parted by what stands between the columns of the first line: commas, semicolons (a spreadsheet in many
    languages) or tabs. The text is UTF-8, or UTF-16 where its first bytes say so.
    Raises DataError that names the line where a required cell is empty or missing, or the column that is.
    """
    with path.open("rb") as file:
        utf16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    try:
        with path.open(newline="", encoding="utf-16" if utf16 else "utf-8-sig") as handle:
            first = handle.readline()
            handle.seek(0)
            reader = csv.DictReader(handle, strict=True, delimiter=max(",;\t", key=first.count))
            names = reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            absent = [name for name in required if name not in names]
            if absent:
                raise DataError(
                    f"{path.name} has no column {', '.join(absent)}; {', '.join(known or COLUMNS)} were expected. "
                    f"Name them in the first line."
                )
            for row in reader:
                values = {name: (row[name] or "").strip() for name in known or names if name in names}
                empty = [name for name in required if not values[name]]
                if empty:
                    where = f"{path.name} line {reader.line_num}"
                    raise DataError(f"{where}: {', '.join(empty)} is empty; fill it in or remove the line.")
                yield reader.line_num, values
    except (UnicodeError, csv.Error) as error:
        raise DataError(f"{path.name} is not a readable CSV. Save it as UTF-8, comma separated.") from error
