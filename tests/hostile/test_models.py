"""Models and golden cases with changed bytes, sealed as if nothing was: never called right, and no process is lost."""

from __future__ import annotations

import contextlib
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, BundleError
from kdlight.workers import Verify, WorkerError, Workers
from tests.hostile.conftest import Trials

FILES = (
    "student.onnx",
    "student.safetensors",
    "teacher.safetensors",
    "golden/expected.json",
    "golden/maps.safetensors",
)
LONG = 120.0


def damage(content: bytearray, rng: np.random.Generator) -> None:
    """Near the beginning, where headers are, or anywhere; some bytes changed, gone or new."""
    reach = min(len(content), 2000) if rng.integers(2) else len(content)
    at = int(rng.integers(reach))
    match rng.integers(4):
        case 0:
            content[at] ^= 1 << int(rng.integers(8))
        case 1:
            content[at : at + 8] = rng.bytes(8)
        case 2:
            del content[at : at + int(rng.integers(1, 5000))]
        case _:
            content[at:at] = rng.bytes(int(rng.integers(1, 100)))


def test_what_was_changed_never_verifies(tiny_bundle: Bundle, tmp_path: Path, trials: Trials) -> None:
    """Of the golden cases digits that mean nothing may change; of the models not one bit."""
    folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / "bundle"))
    with closing(Workers(threads=1)) as workers:
        for rng in trials():
            name = FILES[rng.integers(len(FILES))]
            content = bytearray((tiny_bundle.path / name).read_bytes())
            damage(content, rng)
            (folder / name).write_bytes(content)
            bundles.write_card(folder, tiny_bundle.card)  # the sizes that it says are those of the files
            bundles.seal(folder)
            ok = False
            with contextlib.suppress(BundleError, WorkerError):
                ok = workers.submit(Verify(folder)).result(LONG).ok
            assert not ok or name.startswith("golden/"), name
            shutil.copy(tiny_bundle.path / name, folder / name)
        bundles.write_card(folder, tiny_bundle.card)
        bundles.seal(folder)
        assert workers.submit(Verify(folder)).result(LONG).ok
