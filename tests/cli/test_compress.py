"""compress, export and predict on a folder, on a whole tiny bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle
from kdlight.inference import golden

Run = Callable[..., Any]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """36 drawn images of the tiny bundle's classes: 12 in each of train, val and test."""
    for number in range(36):
        split, name = ("train", "val", "test")[number // 12], ("benign", "malignant", "normal")[number % 3]
        path = tmp_path / "set" / split / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(golden.draw(number, 64, color=False)).save(path)
    return tmp_path / "set"


def test_int8_without_images_says_what_it_needs(kdlight: Run, tiny_bundle: Bundle, tmp_path: Path) -> None:
    said = kdlight("compress", tiny_bundle.path, "--precision", "int8", "--out", tmp_path / "small")
    assert (said.status, said.out) == (2, "")
    assert "--data" in said.err
    assert not (tmp_path / "small").exists()


def test_int8_lies_beside_a_bundle_that_verifies(
    kdlight: Run, tiny_bundle: Bundle, labelled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "small"
    said = kdlight("compress", tiny_bundle.path, "--precision", "int8", "--data", labelled, "--out", out, "--json")
    assert said.status == 0, said.err
    found = said.json
    assert (found["n"], found["split"], found["calibration"]["split"]) == (12, "test", "train")
    assert found["flips"]["count"] == len(found["flips"]["images"])
    assert found["bytes"]["small"] == (out / "student.int8.onnx").stat().st_size < 0.4 * found["bytes"]["source"]
    kept = json.loads((out / "compress.json").read_text())
    assert "images" not in kept["flips"]
    assert kept["bytes"] == found["bytes"]
    assert kdlight("verify", out).status == 0


def test_fp16_changes_no_answer(kdlight: Run, tiny_bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "small"
    said = kdlight("compress", tiny_bundle.path, "--precision", "fp16", "--out", out, "--json")
    assert said.status == 0, said.err
    small = bundles.load(out)
    assert small.card.student.onnx_bytes == small.onnx.stat().st_size == said.json["bytes"]["small"]
    assert said.json["bytes"]["ratio"] > 1.7
    assert golden.check(small).ok
    assert kdlight("compress", tiny_bundle.path, "--precision", "fp16", "--out", out).status == 2


def test_export_asks_the_golden_inputs_again(kdlight: Run, tiny_bundle: Bundle, tmp_path: Path) -> None:
    said = kdlight("export", tiny_bundle.path, "--format", "onnx", "--out", tmp_path / "given", "--json")
    assert said.status == 0, said.err
    assert (said.json["files"], said.json["cases"], said.json["ok"]) == (["student.onnx"], golden.CASES, True)
    assert (tmp_path / "given" / "student.onnx").read_bytes() == tiny_bundle.onnx.read_bytes()


def test_openvino_that_is_missing_is_one_sentence(
    kdlight: Run, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "openvino", None)
    said = kdlight("export", tiny_bundle.path, "--format", "openvino", "--out", tmp_path / "given")
    assert (said.status, said.out) == (2, "")
    assert "OpenVINO is not installed" in said.err
    assert not (tmp_path / "given").exists()


def test_a_folder_is_read_line_by_line_and_resumed(
    kdlight: Run, tiny_bundle: Bundle, labelled: Path, tmp_path: Path
) -> None:
    (labelled / "test" / "empty.dcm").touch()
    out = tmp_path / "out"
    said = kdlight("predict", tiny_bundle.path, labelled / "test", "--out", out, "--json")
    assert said.status == 0, said.err
    assert {key: said.json[key] for key in ("files", "read", "refused", "kept")} == {
        "files": 13,
        "read": 12,
        "refused": 1,
        "kept": 0,
    }
    assert len((out / "readings.jsonl").read_text().splitlines()) == 13
    assert kdlight("predict", tiny_bundle.path, labelled / "test", "--out", out).status == 2
    again = kdlight("predict", tiny_bundle.path, labelled / "test", "--out", out, "--resume", "--json")
    assert (again.status, again.json["kept"], again.json["read"]) == (0, 13, 0)


@pytest.mark.parametrize(("more", "word"), [([], "--out"), (["--explain", "gradcam", "--out", "x"], "heat maps")])
def test_what_a_folder_cannot_have_is_said(
    kdlight: Run, tiny_bundle: Bundle, labelled: Path, more: list[str], word: str
) -> None:
    said = kdlight("predict", tiny_bundle.path, labelled, *more)
    assert said.status == 2
    assert word in said.err
