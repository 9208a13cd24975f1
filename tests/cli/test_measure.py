"""evaluate, verify and benchmark, on a whole tiny bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from safetensors.torch import save_file

from kdlight import golden
from kdlight.bundle import Bundle
from kdlight.inference import heatmaps, peer
from kdlight.models import create_model

Run = Callable[..., Any]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Twelve drawn images in test/<class>/, four of each of the tiny bundle's classes."""
    for number in range(12):
        path = tmp_path / "set" / "test" / ("benign", "malignant", "normal")[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(golden.draw(number, 64, color=False)).save(path)
    return tmp_path / "set"


def test_evaluate_gives_each_model_its_numbers_with_intervals(
    kdlight: Run, tiny_bundle: Bundle, labelled: Path
) -> None:
    said = kdlight("evaluate", tiny_bundle.path, labelled, "--json")
    assert said.status == 0, said.err
    for role in ("teacher", "student"):
        found = said.json[role]
        assert found["n"] == 12
        for name in ("accuracy", "balanced_accuracy", "auc", "macro_f1", "ece", "brier"):
            assert found[name]["low"] <= found[name]["value"] <= found[name]["high"], name
        recalls = [found["recall"][name]["value"] for name in ("benign", "malignant", "normal")]
        assert found["balanced_accuracy"]["value"] == pytest.approx(sum(recalls) / 3)
    differing = 12 * (1 - said.json["agreement"]["value"])
    assert len(said.json["flips"]) == pytest.approx(differing)
    assert "balanced_accuracy" in kdlight("evaluate", tiny_bundle.path, labelled).out


def test_evaluate_names_the_splits_there_are(kdlight: Run, tiny_bundle: Bundle, labelled: Path) -> None:
    said = kdlight("evaluate", tiny_bundle.path, labelled, "--split", "val")
    assert said.status == 2
    assert "its splits: test" in said.err


def test_evaluate_refuses_classes_the_model_does_not_know(kdlight: Run, tiny_bundle: Bundle, labelled: Path) -> None:
    (labelled / "test" / "benign").rename(labelled / "test" / "bicycle")
    said = kdlight("evaluate", tiny_bundle.path, labelled)
    assert said.status == 2
    assert "bicycle" in said.err


def test_verify_passes_a_whole_bundle(kdlight: Run, tiny_bundle: Bundle) -> None:
    said = kdlight("verify", tiny_bundle.path, "--json")
    assert said.status == 0, said.err
    assert said.json["ok"] is True
    assert said.json["sha256"] == tiny_bundle.sha256


def test_verify_names_a_changed_byte(kdlight: Run, bundle_copy: Path) -> None:
    weights = bundle_copy / "student.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    said = kdlight("verify", bundle_copy)
    assert (said.status, said.out) == (2, "")
    assert "student.safetensors was changed" in said.err


def test_explain_times_heat_maps_against_the_package(
    kdlight: Run, tiny_bundle: Bundle, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heatmaps, "MORE", 2)
    monkeypatch.setattr(peer, "FIRST", 8)
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / scan.name).write_bytes(scan.read_bytes())
    weights = tmp_path / "teacher.safetensors"
    torch.manual_seed(0)
    save_file(create_model("mobilenetv2", 5).state_dict(), weights)
    chosen = ("--image", scan, "--images", folder, "--weights", weights, "--threads", "1")
    said = kdlight("benchmark", "explain", tiny_bundle.path, "--size", "64", *chosen, "--json")
    assert said.status == 0, said.err
    found = said.json
    rows = {row["name"]: row for row in found["rows"]}
    assert found["ratio"] == pytest.approx(rows[found["baseline"]]["p50_ms"] / rows[found["candidate"]]["p50_ms"])
    assert "grad-cam package" in found["baseline"]
    assert (rows[found["baseline"]]["runs"], rows[found["candidate"]]["runs"]) == (1, 2)
    assert str(found["probe"]["package_batch"]) in found["probe"]["ms_per_mask"]
    assert found["bound"]["masks"] <= found["bound"]["maps"] == 1280
    assert rows[found["candidate"]]["pearson"] > 0.99
    assert found["weights"] == "teacher.safetensors"
    alike = found["likeness"]
    assert {row["images"] for row in alike.values()} == {1}
    assert all(-1 <= row["least"] <= row["median"] <= 1 for row in alike.values())


def test_latency_times_both_in_one_run(
    kdlight: Run, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path))
    said = kdlight("benchmark", "latency", tiny_bundle.path, "--size", "32", "--decoded", "48", "--json")
    assert said.status == 0, said.err
    found = said.json
    p50 = {row["name"]: row["p50_ms"] for row in found["rows"]}
    assert (found["warmups"] >= 10, found["runs"] >= 50, found["threads"]) == (True, True, 1)
    assert found["ratio"] == pytest.approx(p50[found["baseline"]] / p50[found["candidate"]])
    assert all(row["p50_ms"] <= row["p95_ms"] for row in found["rows"])
