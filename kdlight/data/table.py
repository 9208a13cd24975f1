"""Reading the CSV files that describe a set."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path

from kdlight.data.dataset import DataError

COLUMNS = ("path", "class", "split", "group")


def read_table(
    path: Path, required: tuple[str, ...], known: tuple[str, ...] = COLUMNS
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) for every row of a CSV, its `known` columns only, spaces stripped.

    Cells are parted by what stands between the columns of the first line: commas, semicolons (a spreadsheet in many
    languages) or tabs. The text is UTF-8, or UTF-16 where its first bytes say so.
    Raises DataError that names the line where a required cell is empty or missing, or the column that is.
    """
    try:
        with path.open(newline="", encoding=_encoding(path)) as handle:
            first = handle.readline()
            handle.seek(0)
            reader = csv.DictReader(handle, strict=True, delimiter=max(",;\t", key=first.count))
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            absent = [name for name in required if name not in names]
            if absent:
                raise DataError(
                    f"{path.name} has no column {', '.join(absent)} (its columns: {', '.join(names) or 'none'}); "
                    f"{', '.join(known)} were expected. Name them in the first line."
                )
            for row in reader:
                yield reader.line_num, _row(path, reader.line_num, row, required, known)
    except (UnicodeError, csv.Error) as error:
        raise DataError(f"{path.name} is not a readable CSV: {error}. Save it as UTF-8, comma separated.") from error


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _row(
    path: Path, line: int, row: dict[str, str | None], required: tuple[str, ...], known: tuple[str, ...]
) -> dict[str, str]:
    values = {name: (row.get(name) or "").strip() for name in known if name in row}
    empty = [name for name in required if not values[name]]
    if empty:
        raise DataError(f"{path.name} line {line}: {', '.join(empty)} is empty; fill it in or remove the line.")
    return values
