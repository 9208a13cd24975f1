"""What must start quickly brings none of the heavy libraries along."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "torchvision", "sklearn", "scipy", "timm", "matplotlib", "onnxruntime", "lightning_fabric", "cv2")


def loaded_after(program: str) -> list[str]:
    """The heavy packages in sys.modules once a fresh interpreter has run `program`."""
    ending = f"\nimport json, sys\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program + ending], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "module",
    [
        "kdlight",
        "kdlight.cli",
        "kdlight.runs",
        "kdlight.contracts.recipe",
        "kdlight.bundle",
        "kdlight.images",
        "kdlight.data",
    ],
)
def test_importing_brings_nothing_heavy(module: str) -> None:
    assert loaded_after(f"import {module}") == []


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["predict", "--help"], ["list", "explainers"], ["list", "recipes"]]
)
def test_help_and_light_lists_bring_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_after(f"from kdlight.cli import main\nassert main({arguments!r}) == 0") == []


def test_inspecting_a_scan_brings_nothing_heavy() -> None:
    from pydicom.data import get_testdata_file

    scan = str(get_testdata_file("CT_small.dcm", download=False))
    assert loaded_after(f"from kdlight.cli import main\nassert main(['inspect', {scan!r}, '--json']) == 0") == []


def test_the_public_names_are_there() -> None:
    import kdlight

    assert [name for name in kdlight.__all__ if getattr(kdlight, name) is None] == []
    assert set(kdlight.__all__) <= set(dir(kdlight))
    with pytest.raises(AttributeError, match="has no 'predictor'; it has Predictor"):
        kdlight.predictor  # noqa: B018
