"""Which engine is taken: by measured time, never beyond the parity bound, and kept for this machine only."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from kdlight.bundle import Bundle
from kdlight.inference import Predictor, choice
from kdlight.inference.choice import Setting, choose, chosen, settings
from kdlight.metrics import softmax

PLAIN, ONE = Setting("onnxruntime", 2), Setting("onnxruntime", 1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path / "cache"))


class Off:
    """The student's logits with something added."""

    def __init__(self, engine: Any, shift: float) -> None:
        self.engine, self.shift = engine, shift

    def __call__(self, x: torch.Tensor) -> np.ndarray:
        return np.asarray(self.engine(x) + np.array([self.shift, 0, 0], np.float32))


def tried(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, ms: list[float], shifts: dict[Setting, float] | None = None
) -> dict[str, Any]:
    """`choose` with made-up times per setting, and engines that are off by a shift."""
    real, ways = choice.engine, settings(2)
    shifts = shifts or {}
    monkeypatch.setattr(choice, "engine", lambda path, s: Off(real(path, s), shifts.get(s, 0.0)))
    monkeypatch.setattr(choice, "blocks", lambda *_: {s.name: [t] for s, t in zip(ways, ms, strict=True)})
    return choose(bundle, 2, 64)


def test_settings_use_no_more_threads_than_allowed() -> None:
    assert settings(1) == [ONE]
    assert settings(2) == [PLAIN, Setting("onnxruntime", 2, spin=False), ONE]
    assert [s.threads for s in settings(6) if s.spin] == [6, 4, 2, 1]
    assert len({s.name for s in settings(6)}) == len(settings(6))


def test_the_fastest_is_kept_where_it_is_worth_it(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(tiny_bundle, 2) == PLAIN
    found = tried(tiny_bundle, monkeypatch, [2.0, 1.5, 1.0])
    assert found["chosen"] == ONE.name
    assert [row["p50_ms"] for row in found["candidates"]] == [2.0, 1.5, 1.0]
    assert all(row["within"] and row["difference"] <= 1e-4 for row in found["candidates"])
    assert chosen(tiny_bundle, 2) == ONE
    assert chosen(tiny_bundle, 1) == ONE  # its own plain setting
    assert chosen(tiny_bundle, 4) == Setting("onnxruntime", 4)
    assert tried(tiny_bundle, monkeypatch, [1.0, 1.5, 0.97])["chosen"] == PLAIN.name  # within the noise


def test_an_engine_with_other_answers_is_refused_however_fast(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tried(tiny_bundle, monkeypatch, [2.0, 1.5, 0.1], {ONE: 0.05})
    row = found["candidates"][-1]
    assert not row["within"]
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = tiny_bundle.model("student")(x).numpy()
    change = softmax(logits + np.array([0.05, 0, 0]), 2.0) - softmax(logits, 2.0)
    assert row["difference"] == pytest.approx(np.abs(change).max(), abs=1e-4)
    assert found["chosen"] == Setting("onnxruntime", 2, spin=False).name
    assert not tried(tiny_bundle, monkeypatch, [2.0, 1.5, 0.1], {ONE: float("nan")})["candidates"][-1]["within"]


def test_what_was_kept_for_other_files_or_is_damaged_is_not_taken(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried(tiny_bundle, monkeypatch, [2.0, 1.5, 1.0])
    (kept,) = (tmp_path / "cache" / "engines").iterdir()
    for text in ("{", '{"runtime": "onnxruntime", "threads": 64}', '{"runtime": "other"}', "[]"):
        kept.write_text(text)
        assert chosen(tiny_bundle, 2) == PLAIN
    monkeypatch.setattr(choice, "machine", lambda: {"cpu": "another"})
    tried(tiny_bundle, monkeypatch, [2.0, 1.5, 1.0])
    assert len(list((tmp_path / "cache" / "engines").iterdir())) == 2


@pytest.fixture
def openvino(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A stand-in for the package, with its calls: it answers by ONNX Runtime, in bf16 a little off."""
    seen: list[Any] = []

    class Request:
        def __init__(self, path: str, options: dict[str, Any]) -> None:
            seen.append(options)
            self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            self.shift = 0.05 * (options["INFERENCE_PRECISION_HINT"] == "bf16")

        def create_infer_request(self) -> Request:
            return self

        def infer(self, inputs: dict[int, np.ndarray]) -> dict[str, np.ndarray]:
            logits, maps = self.session.run(None, {"input": inputs[0]})
            return {"logits": logits + np.array([self.shift, 0, 0], np.float32), "maps": maps}

    class Core:
        def compile_model(self, path: str, device: str, options: dict[str, Any]) -> Request:
            assert device == "CPU"
            return Request(path, options)

    module = ModuleType("openvino")
    module.Core = Core  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "openvino", module)
    monkeypatch.setattr(choice, "find_spec", lambda name: name == "openvino")
    return seen


def test_openvino_is_tried_where_it_is_installed_and_held_to_the_bound(
    tiny_bundle: Bundle, openvino: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings(1)[1:] == [Setting("openvino", 1, precision="f32"), Setting("openvino", 1, precision="bf16")]
    times = {s.name: [ms] for s, ms in zip(settings(1), (2.0, 1.0, 0.5), strict=True)}
    monkeypatch.setattr(choice, "blocks", lambda *_: times)
    found = choose(tiny_bundle, 1, 64)
    assert [row["within"] for row in found["candidates"]] == [True, True, False]
    assert found["chosen"] == "OpenVINO, 1 thread, f32"
    assert {o["INFERENCE_NUM_THREADS"] for o in openvino} == {1}
    predictor = Predictor(tiny_bundle, threads=1)
    x = torch.rand(1, 3, 64, 64)
    assert isinstance(predictor._engines["student"], choice.OpenVinoEngine)
    logits, maps = predictor._engines["student"].with_maps(x)
    expected, expected_maps = choice.engine(tiny_bundle.onnx, ONE).with_maps(x)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert maps is not None
    assert expected_maps is not None
    np.testing.assert_allclose(maps, expected_maps, atol=1e-4)
