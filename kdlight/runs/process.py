"""Which process a run belongs to: its number and when it began, since numbers are given again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil

from kdlight.runs.files import write_atomically

SAME_START = 2.0
"""Seconds that two readings of one process's start time may differ (a clock correction); ours."""


def record(run: Path, pid: int, folder: Path) -> None:
    """Parent and child may both write this; they write the same."""
    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        created = 0.0
    found = {"pid": pid, "created": created, "folder": str(folder)}
    write_atomically(run / "process.json", json.dumps(found).encode())


def process_of(recorded: dict[str, Any]) -> psutil.Process | None:
    """The process that was recorded, None if it is gone, a zombie, or another one under the same number."""
    try:
        process = psutil.Process(int(recorded.get("pid", -1)))
        same = abs(process.create_time() - float(recorded.get("created", 0.0))) < SAME_START
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, ValueError):
        return None


def is_another(recorded: dict[str, Any] | None, pid: int) -> bool:
    """Whether a process is recorded, and it is not the one with this number."""
    return recorded is not None and recorded.get("pid") != pid
