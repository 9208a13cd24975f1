"""The benchmark commands, on a whole tiny bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kdlight import bundle as bundles
from kdlight.benchmark import batch as benchmark
from kdlight.benchmark import timer as machine
from kdlight.bundle import Bundle
from kdlight.models import create_model

Run = Callable[..., Any]


def test_explain_times_score_cam_against_every_mask(
    kdlight: Run, tiny_bundle: Bundle, scan: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / scan.name).write_bytes(scan.read_bytes())
    weights = tmp_path / "teacher.safetensors"
    torch.manual_seed(0)
    save_file(create_model("mobilenetv2", 5).state_dict(), weights)
    chosen = ("--image", folder, "--weights", weights, "--threads", "1", "--runs", "2")
    said = kdlight("benchmark", "explain", tiny_bundle.path, "--size", "64", *chosen, "--json")
    assert said.status == 0, said.err
    found = said.json
    rows = {row["name"]: row for row in found["rows"]}
    assert found["ratio"] == pytest.approx(rows[found["baseline"]]["p50_ms"] / rows[found["candidate"]]["p50_ms"])
    assert (rows[found["baseline"]]["runs"], rows[found["candidate"]]["runs"]) == (2, 2)
    assert rows[found["baseline"]]["pearson"] == pytest.approx(1)
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


def test_latency_is_kept_on_the_card_where_the_machine_is_quiet(
    kdlight: Run, bundle_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(machine, "MOST_BUSY", 101.0)
    said = kdlight("benchmark", "latency", bundle_copy, "--record", "--decoded", "48", "--json")
    assert said.status == 0, said.err
    bundle = bundles.load(bundle_copy)
    recorded = bundle.card.metrics.latency
    assert recorded is not None
    assert (recorded.size, recorded.same_engine, recorded.runs) == (bundle.spec.size, True, 50)
    monkeypatch.setattr(machine, "MOST_BUSY", -1.0)
    said = kdlight("benchmark", "latency", bundle_copy, "--record", "--json")
    assert said.status == 2
    assert "Try again when it is quiet." in said.err
    assert bundles.load(bundle_copy).sha256 == bundle.sha256


def test_batch_reads_the_files_that_are_asked_for(
    kdlight: Run, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "SIDE", 64)
    said = kdlight("benchmark", "batch", tiny_bundle.path, "--files", "50", "--threads", "1", "--json")
    assert said.status == 0, said.err
    assert (said.json["files"], said.json["threads"]) == (50, 1)
