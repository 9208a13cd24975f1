"""Golden cases pass on what was shipped and fail on what was changed."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, BundleError, load
from kdlight.inference import golden


def test_inputs_are_the_same_everywhere_and_differ_from_each_other() -> None:
    first, again, second = golden.draw(0, 64, True), golden.draw(0, 64, True), golden.draw(1, 64, True)
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - second).mean() > 10
    gray = golden.draw(0, 64, False)
    assert np.array_equal(gray[..., 0], gray[..., 2])


def test_a_sound_bundle_passes_and_onnx_agrees_with_torch(tiny_bundle: Bundle) -> None:
    found = golden.check(tiny_bundle)
    assert found.ok
    assert found.onnx_torch_difference <= 1e-4
    assert max(found.probability_change.values()) <= 1e-5


def test_other_weights_under_right_checksums_fail(bundle_copy: Path) -> None:
    state = load_file(bundle_copy / "student.safetensors")
    state["classifier.weight"] = state["classifier.weight"].flip(0).contiguous() + 0.5
    save_file(state, bundle_copy / "student.safetensors")
    bundles.seal(bundle_copy)
    found = golden.check(load(bundle_copy))
    assert not found.ok
    assert found.onnx_torch_difference > 1e-4


def test_damaged_cases_are_said(bundle_copy: Path) -> None:
    (bundle_copy / "golden" / "expected.json").write_text(json.dumps({"probabilities": {}}))
    bundles.seal(bundle_copy)
    with pytest.raises(BundleError, match="golden cases cannot be read"):
        golden.check(load(bundle_copy))
