"""The table of outcomes over files and folders: `python -m kdlight.images.table DIR... [--json]`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kdlight.images.reading import report


def outcomes(paths: Iterable[Path | str]) -> list[dict[str, Any]]:
    """One row per file: file, read, reason (empty where read), words, seconds. Folders are walked in name order."""
    return [_row(path, root) for path, root in _files(paths)]


def render(rows: list[dict[str, Any]]) -> str:
    """The rows as text, then the counts."""
    lines = [f"{r['reason'] or 'read':<13} {r['seconds']:6.3f} s  {r['file']}: {r['words']}" for r in rows]
    read = sum(r["read"] for r in rows)
    return "\n".join([*lines, f"{len(rows)} files: {read} read, {len(rows) - read} refused"])


def _files(paths: Iterable[Path | str]) -> list[tuple[Path, Path]]:
    found = []
    for path in map(Path, paths):
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        found += [(p, path if path.is_dir() else path.parent) for p in inside]
    return found


def _row(path: Path, root: Path) -> dict[str, Any]:
    start = time.perf_counter()
    told = report(path)
    return {
        "file": path.relative_to(root).as_posix(),
        "read": told["read"],
        "reason": told.get("reason", ""),
        "words": told["message"] if "message" in told else summary(told),
        "seconds": round(time.perf_counter() - start, 4),
    }


def summary(told: dict[str, Any]) -> str:
    """One line for people: `DICOM, CT, 512 x 512, 12 bit, MONOCHROME2, frame 1/20, RLE Lossless`."""
    parts = [
        told["format"].upper(),
        told["modality"] or "modality not given",
        f"{told['columns']} x {told['rows']}",
        f"{told['bits']} bit",
        told["photometric"],
        f"frame {told['frame'] + 1}/{told['frames']}" if told["frames"] > 1 else "",
        told["units"],
        told["transfer_syntax"] or "",
    ]
    return ", ".join(p for p in parts if p)


def main(arguments: list[str]) -> int:
    paths = [a for a in arguments if a != "--json"]
    if not paths:
        sys.stderr.write("Give at least one file or folder: python -m kdlight.images.table DIR [--json]\n")
        return 2
    rows = outcomes(paths)
    sys.stdout.write((json.dumps(rows) if "--json" in arguments else render(rows)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
