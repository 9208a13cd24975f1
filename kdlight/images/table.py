"""How the files of folders are read, as a table: a row for each, then the counts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kdlight.images.errors import ImageError
from kdlight.images.image import Image
from kdlight.images.reading import read


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one file is read. `reason` is empty where it was; `words` say what it is, or why it was refused."""

    file: str
    read: bool
    reason: str
    words: str
    seconds: float


def outcomes(paths: Iterable[Path | str]) -> list[Outcome]:
    """One for each file. Folders are walked in name order."""
    rows = []
    for path in map(Path, paths):
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        rows += [_outcome(p, path if path.is_dir() else path.parent) for p in inside]
    return rows


def render(rows: list[Outcome]) -> str:
    """The rows as text, then the counts."""
    lines = [f"{row.reason or 'read':<13} {row.seconds:6.3f} s  {row.file}: {row.words}" for row in rows]
    read_ = sum(row.read for row in rows)
    return "\n".join([*lines, f"{len(rows)} files: {read_} read, {len(rows) - read_} refused"])


def _outcome(path: Path, root: Path) -> Outcome:
    start, reason = time.perf_counter(), ""
    try:
        words = summary(read(path))
    except ImageError as error:
        reason, words = error.reason, str(error)
    seconds = round(time.perf_counter() - start, 4)
    return Outcome(path.relative_to(root).as_posix(), not reason, reason, words, seconds)


def summary(image: Image) -> str:
    """One line for people: `DICOM, CT, 512 x 512, 12 bit, MONOCHROME2, frame 1/20, RLE Lossless`."""
    rows, columns = image.shape
    parts = [
        image.format.upper(),
        image.modality or "modality not given",
        f"{columns} x {rows}",
        f"{image.bits} bit",
        image.photometric,
        f"frame {image.frame + 1}/{image.frames}" if image.frames > 1 else "",
        image.units,
        image.transfer_syntax or "",
    ]
    return ", ".join(part for part in parts if part)
