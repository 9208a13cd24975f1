"""Runs a command in this process and hands back what it said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kdlight.cli import main
from kdlight.inference import golden


@dataclass(frozen=True)
class Said:
    """Exit status, stdout and stderr of one command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def kdlight(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*arguments: str | Path) -> Said:
        status = main([str(a) for a in arguments])
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A gray PNG of 96 x 96 pixels."""
    path = tmp_path / "scan.png"
    PIL.Image.fromarray(golden.draw(1, 96, color=False)).convert("L").save(path)
    return path
