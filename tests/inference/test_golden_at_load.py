"""What is exchanged in a bundle and sealed again is refused when the app loads it, before it reads anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kdlight import bundle as bundles
from kdlight import storage
from kdlight.bundle import Bundle, BundleError, load
from kdlight.inference import Predictor, golden
from kdlight.inference.engines import OnnxEngine
from kdlight.inference.learn import features
from kdlight.trust import belonging
from kdlight.workers import Read, models
from tests.bundle_faults import put, spoil
from tests.conftest import picture

Fault = Callable[[Path], None]


def weights(role: str, change: Callable[[dict[str, torch.Tensor]], None]) -> Fault:
    def fault(folder: Path) -> None:
        state = load_file(folder / f"{role}.safetensors")
        change(state)
        save_file(state, folder / f"{role}.safetensors")

    return fault


def first(state: dict[str, torch.Tensor]) -> str:
    """The layer that sees red, green and blue."""
    return next(name for name, value in state.items() if value.dim() == 4 and value.shape[1] == 3)


def swap(state: dict[str, torch.Tensor]) -> None:
    state[first(state)] = state[first(state)].flip(1).contiguous()


def one_weight(state: dict[str, torch.Tensor], by: float = 1.0) -> None:
    state["classifier.weight"][0, 0] += by


def card(*path: str, value: Any) -> Fault:
    return lambda folder: spoil(folder, put(value, *path))


ANSWERS: dict[str, Fault] = {
    "one weight of the student": weights("student", one_weight),
    "one weight of the teacher": weights("teacher", one_weight),
    "the student's channels": weights("student", swap),
    "the teacher's channels": weights("teacher", swap),
    "another bundle's mean": card("input", "mean", value=[0.5, 0.5, 0.5]),
    "another bundle's deviation": card("input", "std", value=[0.5, 0.5, 0.5]),
    "another bundle's temperature": card("calibration", "teacher", "temperature", value=1.7),
}
"""What changes the answers to the golden cases."""
SILENT: dict[str, Fault] = {
    "a weight by a thousandth": weights("student", lambda state: one_weight(state, 1e-3)),
    "another bundle's sets": card("conformal", "student", "qhat", value=0.2),
    "another bundle's looks": lambda folder: look_at(folder, seed=1),
}
"""What only the digests in the record tell."""


def refused(folder: Path) -> str | None:
    bundles.seal(folder)
    try:
        golden.require(Predictor(load(folder), threads=1))
    except BundleError as error:
        return f"{error.reason}: {error}"
    return None


def look_at(folder: Path, seed: int) -> None:
    """Give a bundle the belonging file of some drawn images; the card keeps its limits."""
    rng = np.random.default_rng(seed)
    bundle = Bundle(folder, bundles.read_card(folder), "")
    engine, spec = OnnxEngine.of(bundle, 1, stages=True), bundle.spec
    own, copies = (
        features(engine, spec, rng.integers(low, low + 100, (24, spec.size, spec.size, 3), dtype=np.uint8))
        for low in (0, 150)
    )
    storage.write_arrays(folder / bundles.LOOKS, looks := belonging.fit(own, [copies]))
    if bundle.card.belonging is None:
        known = belonging.limits(looks, own, ["inverted"], gray=False)
        golden.bind(Bundle(folder, bundles.write_card(folder, bundle.card.replace(belonging=known)), ""))


def forget(folder: Path) -> None:
    """Make the golden record one from before it held digests."""
    file = folder / "golden" / "expected.json"
    record = json.loads(file.read_text())
    record.pop("bound")
    file.write_text(json.dumps(record))


@pytest.mark.parametrize("what", [*ANSWERS, *SILENT])
def test_what_was_exchanged_is_refused_with_a_sentence(bundle_copy: Path, what: str) -> None:
    look_at(bundle_copy, seed=0)
    assert refused(bundle_copy) is None
    (ANSWERS | SILENT)[what](bundle_copy)
    said = refused(bundle_copy)
    assert said is not None
    assert said.startswith("golden: tiny_mri: it does not reproduce what it was made with.")
    assert said.endswith("Get the bundle again.")


@pytest.mark.parametrize("what", ANSWERS)
def test_a_record_without_digests_still_tells_what_changes_an_answer(bundle_copy: Path, what: str) -> None:
    forget(bundle_copy)
    assert refused(bundle_copy) is None
    ANSWERS[what](bundle_copy)
    assert refused(bundle_copy) is not None


def test_a_reading_of_such_a_bundle_is_refused_and_a_sound_one_is_asked_once(
    bundle_copy: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    whole = golden.require
    monkeypatch.setattr(golden, "require", lambda predictor: (asked.append(predictor.bundle.sha256), whole(predictor)))
    monkeypatch.setattr(models, "_PROVEN", set())
    for _ in range(2):
        models.read(Read(tiny_bundle.path, picture()), lambda share, words: None)
        models._load.cache_clear()
    assert asked == [tiny_bundle.sha256]
    monkeypatch.setattr(models, "_PROVEN", set())
    models.read(Read(tiny_bundle.path, picture(), proven=(tiny_bundle.sha256,)), lambda share, words: None)
    assert len(asked) == 1
    ANSWERS["the student's channels"](bundle_copy)
    bundles.seal(bundle_copy)
    with pytest.raises(BundleError, match="does not reproduce"):
        models.read(Read(bundle_copy, picture()), lambda share, words: None)
