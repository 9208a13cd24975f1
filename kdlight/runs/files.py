"""How a run's files are read and written: a reader never sees half of one, a torn line is left out."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any, BinaryIO


def write_atomically(path: Path, content: bytes) -> None:
    """Beside, synced, renamed: a reader sees the old content or the new, and a full disk leaves the old."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


def parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        return parse(path.read_bytes())
    except OSError:
        return None


def end_of_last_line(log: BinaryIO) -> int:
    """Bytes up to and including the last newline: what is after it is half a record."""
    size = log.seek(0, os.SEEK_END)
    back = min(size, 1 << 16)
    log.seek(size - back)
    return size - back + (log.read(back).rfind(b"\n") + 1)
