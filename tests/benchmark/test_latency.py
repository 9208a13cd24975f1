"""The latency report: what it times, what it says, and what it refuses. Never how fast."""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from kdlight import bundle as bundles
from kdlight.benchmark import BusyError, LatencyReport, latency, quiet_latency, record
from kdlight.benchmark.latency import BASELINE, CANDIDATE, ONNX, TRANSFORMS, Measured, drawn, engines, whole_ways
from kdlight.bundle import Bundle
from kdlight.images import Image, read
from kdlight.inference import Predictor
from kdlight.models import macs

module = importlib.import_module("kdlight.benchmark.latency")
SPEEDS = {"teacher, torch eager": 8.0, "teacher, ONNX Runtime": 3.0, "student, ONNX Runtime": 0.5}


def test_the_report_compares_each_row_with_the_student_measured_alike(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads_seen: set[int] = set()

    def made_up(ways: dict[str, object], runs: int, *_: object) -> dict[str, list[float]]:
        threads_seen.add(torch.get_num_threads())
        speed = {name: SPEEDS.get(name.split(";")[0], 6.0) + 1000 * ("decoded" in name) for name in ways}
        return {name: (np.arange(1, runs + 1) * ms).tolist() for name, ms in speed.items()}

    before = torch.get_num_threads()
    networks = dict.fromkeys((BASELINE, Measured("teacher", ONNX), CANDIDATE), torch.sum)
    monkeypatch.setattr(module, "engines", lambda *_: networks)
    monkeypatch.setattr(module, "interleave", made_up)
    monkeypatch.setattr(module.Bound, "of", lambda *_: None)
    report = latency(tiny_bundle, size=32, threads=before + 1, images=(40,))
    rows, ratios = {row.name: row for row in report.rows}, report.ratios
    assert rows["teacher, torch eager"].p50_ms == pytest.approx(8 * 25.5)
    assert rows["teacher, torch eager"].p95_ms == pytest.approx(8 * np.quantile(np.arange(1, 51), 0.95))
    assert report.ratio == ratios["teacher, torch eager"] == pytest.approx(16)
    assert ratios["teacher, torch eager; cold"] == pytest.approx(16)
    whole = "{}; from a decoded image of 40 px"
    assert ratios[whole.format("teacher, ONNX Runtime")] == pytest.approx(1003 / 1000.5)
    assert ratios[whole.format("student, ONNX Runtime")] == 1
    assert ratios[whole.format("Grad-CAM of both")] == pytest.approx(1006 / 1000.5)
    row = rows[whole.format("teacher, ONNX Runtime")]
    assert (row.role, row.engine, row.route, row.pixels) == ("teacher", "ONNX Runtime", "image", 40)
    assert (threads_seen, torch.get_num_threads()) == ({before + 1}, before)


def test_every_way_runs_and_the_report_is_json(tiny_bundle: Bundle) -> None:
    steps: list[tuple[int, int]] = []
    report = latency(tiny_bundle, size=32, images=(48,), progress=lambda done, total: steps.append((done, total)))
    assert LatencyReport.model_validate_json(report.model_dump_json()) == report
    names = [row.name for row in report.rows]
    assert len(names) == len(set(names)) == 5 + 5 + 2 + 5  # alone, whole, transforms and Grad-CAM, cold
    assert {report.candidate, report.baseline} <= set(names) == set(report.ratios)
    assert all(0 < row.p50_ms <= row.p95_ms for row in report.rows)
    bound = report.bound
    assert bound is not None
    assert bound.student_ms == pytest.approx(macs(tiny_bundle.model("student"), 32) / bound.peak_gmacs / 1e6)
    assert 0.1 < bound.peak_gmacs < 1e5
    assert report.machine.torch == torch.__version__.split("+")[0]
    assert steps == [(n, 12) for n in range(1, 13)]


def test_without_images_only_the_networks_are_timed(tiny_bundle: Bundle) -> None:
    report = latency(tiny_bundle, size=32)
    assert {row.route for row in report.rows} == {"network"}
    assert (len(report.rows), report.bound) == (5, None)


def test_on_a_busy_machine_nothing_is_measured(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = iter([3.0, 80.0, 90.0])
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: next(busy))
    measured: list[int] = []
    monkeypatch.setattr(module, "latency", lambda *_, **__: measured.append(1) or {})
    with pytest.raises(BusyError, match="other work takes 80 %"):
        quiet_latency(tiny_bundle, 32)
    with pytest.raises(BusyError, match="other work takes 90 %"):
        quiet_latency(tiny_bundle, 32)
    assert measured == [1]


def test_a_card_keeps_the_networks_own_medians(tiny_bundle: Bundle, bundle_copy: Path) -> None:
    report = latency(tiny_bundle, size=32, images=(48,))
    record(bundles.load(bundle_copy), report)
    kept = bundles.load(bundle_copy).card.metrics.latency
    assert kept is not None
    networks = [(row.role, row.engine, row.p50_ms) for row in report.rows if row.route == "network"]
    assert [(row.role, row.engine, row.p50_ms) for row in kept.rows] == networks
    assert (kept.size, kept.machine) == (32, report.machine)


def test_the_engines_give_one_answer(tiny_bundle: Bundle) -> None:
    x = torch.rand(1, 3, 96, 96)
    logits = {network: engine(x) for network, engine in engines(tiny_bundle, 1).items()}
    for role in ("teacher", "student"):
        first, *others = [value for network, value in logits.items() if network.role == role]
        for other in others:
            np.testing.assert_allclose(first, other, atol=1e-3)


@pytest.mark.parametrize("color", [False, True])
def test_the_whole_way_is_that_of_a_reading(tiny_bundle: Bundle, color: bool, tmp_path: Path) -> None:
    """Each timed call gives what the Predictor says of the same file; torchvision's way differs by rounding only."""
    card = tiny_bundle.card.replace(eligibility={"modalities": ["mri"], "color": color})
    bundle = dataclasses.replace(tiny_bundle, card=card)
    networks = engines(bundle, 1)
    ways = whole_ways(bundle, networks, bundle.spec.size, 1, (96,))
    image = drawn(96, color)
    PIL.Image.fromarray(image.display()).save(tmp_path / "picture.png")
    decoded: Image = read(tmp_path / "picture.png")
    np.testing.assert_array_equal(decoded.pixels, image.pixels)
    assert decoded.pixels.dtype == image.pixels.dtype
    reading = Predictor(bundle, 1).read(decoded, explain="gradcam", confirmed=True)
    for network in networks:
        opinion = getattr(reading, str(network.role))
        probabilities = ways[dataclasses.replace(network, route="image", pixels=96)]()
        np.testing.assert_allclose(probabilities[0], list(opinion.probabilities.values()), atol=1e-4)
    plain = ways[Measured("teacher", TRANSFORMS, "image", 96)]()
    np.testing.assert_allclose(plain[0], list(reading.teacher.probabilities.values()), atol=0.02)
    (maps,) = [call() for way, call in ways.items() if way.route == "maps"]
    for role in ("teacher", "student"):
        np.testing.assert_allclose(maps[role].values, getattr(reading, role).heat_map.values, atol=1e-4)


@pytest.mark.parametrize("wrong", [{"runs": 49}, {"warmups": 9}, {"size": 16}, {"threads": 0}])
def test_a_sloppy_measurement_is_refused(tiny_bundle: Bundle, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="asked for"):
        latency(tiny_bundle, **wrong)  # type: ignore[arg-type]


def test_the_report_is_made_of_json(tiny_bundle: Bundle) -> None:
    json.dumps(latency(tiny_bundle, size=32).model_dump(mode="json"), allow_nan=False)
