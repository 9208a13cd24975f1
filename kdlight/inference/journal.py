"""readings.jsonl: one line per file, written as results come; whatever ends the program, no line is lost or doubled.

A line is a Reading with its `file`, or `{"file", "refused"}` with the reason. Beside it settings.json holds what
must be the same for the rest to be read later.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, model_validator

from kdlight import storage

READINGS = "readings.jsonl"
SETTINGS = "settings.json"
LONGEST = 4 * 2**20
"""Bytes of a line, at most; ours, a thousand times what a reading takes."""
Settings = Mapping[str, str | int | bool]


class JournalError(ValueError):
    """The folder's readings cannot be begun or gone on with; the message says why and what to do."""


class Line(BaseModel):
    """Of a line what tells that it is one: its file, and that it was refused or read by both models."""

    model_config = ConfigDict(extra="ignore", strict=True)

    file: InstanceOf[str]
    """Any name that the system has, also one that is no Unicode text, which pydantic's own str refuses."""
    schema_: Annotated[str | None, Field(alias="schema", pattern=r"^kdlight\.reading/[123]$")] = None
    refused: InstanceOf[str] | None = None
    teacher: dict[str, object] | None = None
    student: dict[str, object] | None = None

    @model_validator(mode="after")
    def _answered(self) -> Line:
        if self.refused is None and (self.teacher is None or self.student is None):
            raise ValueError("a reason, or both models' readings were expected")
        return self


class Journal:
    """The open file. `done` holds the files that stand in it already; one process at a time may write."""

    def __init__(self, folder: Path, settings: Settings, resume: bool = False) -> None:
        """Begin, or go on where `resume` is set. Half a line, left by a kill in mid-write, is cut off.

        Raises JournalError where readings are there and were not to be resumed, where they were made with other
        settings or are damaged, or where another process is writing. Nothing of what stands there is then changed.
        """
        self.path = folder / READINGS
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                self._file = stack.enter_context(storage.locked(self.path, mode=0o600))
            except BlockingIOError:
                said = f"Another process is writing {self.path}; wait for it, or give another --out."
                raise JournalError(said) from None
            begun = os.fstat(self._file).st_size > 0
            if begun and not resume:
                raise JournalError(f"{self.path} holds readings already; go on with --resume, or give another --out.")
            _agree(folder / SETTINGS, settings, begun)
            self.done = self._recover()
            self._open = stack.pop_all()

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write the lines and wait until they are on the disk; where that fails, none of them is left."""
        content = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode("ascii")
        storage.append(self._file, content, self.path)

    def _recover(self) -> set[str]:
        """The files of all lines; what follows the last newline is cut off, and writing goes on there."""
        done: set[str] = set()
        end = number = 0
        with os.fdopen(os.dup(self._file), "rb") as lines:
            while (line := lines.readline(LONGEST)).endswith(b"\n"):
                number, end = number + 1, end + len(line)
                name = self._file_of(line, number)
                if name in done:
                    raise self._damaged(f"line {number} is of a file that has another line, too")
                done.add(name)
            if len(line) == LONGEST:
                raise self._damaged(f"line {number + 1} has no end")
        os.ftruncate(self._file, end)
        return done

    def _file_of(self, line: bytes, number: int) -> str:
        try:
            return Line.model_validate(json.loads(line)).file
        except (ValueError, RecursionError) as error:
            raise self._damaged(f"line {number} is damaged or of another version") from error

    def _damaged(self, why: str) -> JournalError:
        return JournalError(
            f"{self.path}: {why}. Remove that line, then --resume reads its file; or give another --out."
        )

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def _agree(path: Path, settings: Settings, begun: bool) -> None:
    """Write the settings, or compare them with those that the readings were begun with."""
    content = (json.dumps(dict(settings), indent=1, sort_keys=True) + "\n").encode()
    if not begun:
        storage.write(path, content)
        return
    try:
        kept = storage.read(path)
    except (FileNotFoundError, storage.UnreadableError) as error:
        raise JournalError(f"{path} is lost, which says how the readings were made; give another --out.") from error
    if kept != content:
        raise JournalError(f"{path.parent} was begun with another bundle or other options; give another --out.")
