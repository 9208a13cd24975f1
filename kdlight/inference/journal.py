"""readings.jsonl: one line per file, written as results come; whatever ends the program, no line is lost or doubled.

A line is a Reading with its `file`, or `{"file", "refused"}` with the reason. Beside it settings.json holds what
must be the same for the rest to be read later.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from kdlight import storage

READINGS = "readings.jsonl"
SETTINGS = "settings.json"
Settings = Mapping[str, str | int | bool]


class JournalError(ValueError):
    """The folder's readings cannot be begun or gone on with; the message says why and what to do."""


class Journal:
    """The open file. `done` holds the files that stand in it already; one process at a time may write."""

    def __init__(self, folder: Path, settings: Settings, resume: bool = False) -> None:
        """Begin, or go on where `resume` is set. Half a line, left by a kill in mid-write, is cut off.

        Raises JournalError where readings are there and were not to be resumed, where they were made with other
        settings, or where another process is writing.
        """
        self.path = folder / READINGS
        begun = self.path.exists()
        if begun and not resume:
            raise JournalError(f"{self.path} holds readings already; go on with --resume, or give another --out.")
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._claim()
            _agree(folder / SETTINGS, settings, begun)
            self.done = self._recover()
        except BaseException:
            os.close(self._file)
            raise

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write the lines and wait until they are on the disk."""
        left = memoryview("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode("ascii"))
        while left:
            left = left[os.write(self._file, left) :]
        os.fsync(self._file)

    def _claim(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"Another process is writing {self.path}; wait for it, or give another --out.") from None

    def _recover(self) -> set[str]:
        """The files of all whole lines; what follows the last newline is cut off, and writing goes on there."""
        done, end = set(), 0
        with os.fdopen(os.dup(self._file), "rb") as lines:
            for line in lines:
                name = _file_of(line)
                if name is None:
                    break
                done.add(name)
                end += len(line)
            rest = lines.read(1)
        if rest:
            raise JournalError(f"{self.path} has a damaged line in its middle; move it away and begin anew.")
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, os.SEEK_SET)
        return done

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)


def _file_of(line: bytes) -> str | None:
    """The file that a whole line is about; None for half a line or none of ours."""
    if not line.endswith(b"\n"):
        return None
    try:
        return str(json.loads(line)["file"])
    except (ValueError, KeyError, TypeError):
        return None


def _agree(path: Path, settings: Settings, begun: bool) -> None:
    """Write the settings, or compare them with those that the readings were begun with."""
    text = json.dumps(dict(settings), indent=1, sort_keys=True) + "\n"
    if not begun or not path.exists():
        storage.write(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise JournalError(f"{path.parent} was begun with another bundle or other options; give another --out.")
