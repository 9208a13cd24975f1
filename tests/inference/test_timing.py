"""The latency report: what it times, what it says, and what it refuses. Never how fast."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from kdlight import bundle as bundles
from kdlight.bundle import Bundle
from kdlight.images import Image, read
from kdlight.inference import Predictor, keep, latency, quiet_latency, timing, turns
from kdlight.inference.machine import BusyError
from kdlight.models import macs

SPEEDS = {"teacher, torch eager": 8.0, "teacher, ONNX Runtime": 3.0, "student, ONNX Runtime": 0.5}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path / "cache"))


def test_blocks_count_what_follows_the_lead_and_the_warm_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a made-up clock: call n of a way takes n milliseconds of its own speed."""
    calls: list[str] = []

    def clock(call: turns.Call) -> float:
        name = call()
        calls.append(name)
        return float(calls.count(name))

    monkeypatch.setattr(turns, "_time", clock)
    steps: list[tuple[int, int]] = []
    ways = {name: (lambda name=name: name) for name in ("a", "b", "c")}
    rng = np.random.default_rng(0)
    found = turns.blocks(ways, 12, 10, rng, lambda done, total: steps.append((done, total)))
    # blocks of 7 calls, the first 2 of each uncounted; 2 blocks of warm-ups, then 3 of which 12 calls are kept
    assert found == {name: [17.0, 18, 19, 20, 21, 24, 25, 26, 27, 28, 31, 32] for name in "abc"}
    assert steps == [(n, 5) for n in range(1, 6)]
    rows = [calls[i : i + 7] for i in range(0, len(calls), 7)]
    assert all(len(set(row)) == 1 for row in rows)
    orders = {tuple(row[0] for row in rows[i : i + 3]) for i in range(0, 15, 3)}
    assert {frozenset(order) for order in orders} == {frozenset("abc")}
    assert len(orders) > 1


def test_the_report_compares_each_row_with_the_student_measured_alike(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads_seen: set[int] = set()

    def made_up(ways: dict[str, object], runs: int, *_: object) -> dict[str, list[float]]:
        threads_seen.add(torch.get_num_threads())
        speed = {name: SPEEDS.get(name.split(";")[0], 6.0) + 1000 * ("decoded" in name) for name in ways}
        return {name: (np.arange(1, runs + 1) * ms).tolist() for name, ms in speed.items()}

    before = torch.get_num_threads()
    engines = dict.fromkeys(SPEEDS, torch.sum)
    monkeypatch.setattr(timing, "_engines", lambda *_: engines)
    monkeypatch.setattr(timing, "blocks", made_up)
    monkeypatch.setattr(timing, "race", lambda ways, runs, *_: made_up(dict.fromkeys(ways, 0), runs))
    monkeypatch.setattr(timing, "_bound", lambda *_: {"peak_gmacs": 1.0})
    monkeypatch.setattr(timing, "choose", lambda *_: {"chosen": "one"})
    found = latency(tiny_bundle, size=32, threads=before + 1, images=(40,))
    rows, ratios = {row["name"]: row for row in found["rows"]}, found["ratios"]
    assert rows["teacher, torch eager"]["p50_ms"] == pytest.approx(8 * 25.5)
    assert rows["teacher, torch eager"]["p95_ms"] == pytest.approx(8 * np.quantile(np.arange(1, 51), 0.95))
    assert found["ratio"] == ratios["teacher, torch eager"] == pytest.approx(16)
    assert ratios["teacher, torch eager; cold"] == pytest.approx(16)
    whole = "{}; from a decoded image of 40 px"
    assert ratios[whole.format("teacher, ONNX Runtime")] == pytest.approx(1003 / 1000.5)
    assert ratios[whole.format("student, ONNX Runtime")] == 1
    assert ratios[whole.format("Grad-CAM of both")] == pytest.approx(1006 / 1000.5)
    assert (found["engines"], found["bound"]) == ({"chosen": "one"}, {"peak_gmacs": 1.0})
    assert (threads_seen, torch.get_num_threads()) == ({before + 1}, before)


def test_every_way_runs_and_the_report_is_json(tiny_bundle: Bundle) -> None:
    steps: list[tuple[int, int]] = []
    found = latency(tiny_bundle, size=32, images=(48,), progress=lambda done, total: steps.append((done, total)))
    found = json.loads(json.dumps(found))
    assert {"machine", "threads", "warmups", "runs", "rows", "candidate", "baseline", "ratio"} <= set(found)
    names = [row["name"] for row in found["rows"]]
    assert len(names) == len(set(names)) == 5 + 5 + 2 + 5  # alone, whole, transforms and Grad-CAM, cold
    assert {found["candidate"], found["baseline"]} <= set(names) == set(found["ratios"])
    assert all(0 < row["p50_ms"] <= row["p95_ms"] for row in found["rows"])
    bound = found["bound"]
    expected = macs(tiny_bundle.model("student"), 32) / bound["peak_gmacs"] / 1e6
    assert bound["student_ms"] == pytest.approx(expected)
    assert bound["teacher_memory_ms"] > bound["student_memory_ms"] > 0
    assert found["engines"]["chosen"] in [row["name"] for row in found["engines"]["candidates"]]
    assert found["machine"]["torch"] == torch.__version__.split("+")[0]
    assert steps == [(n, 12) for n in range(1, 13)]


def test_without_images_only_the_networks_are_timed(tiny_bundle: Bundle) -> None:
    found = latency(tiny_bundle, size=32)
    assert len(found["rows"]) == 5
    assert not {"bound", "engines"} & set(found)


def test_on_a_busy_machine_nothing_is_measured(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = iter([3.0, 80.0, 90.0])
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: next(busy))
    measured: list[int] = []
    monkeypatch.setattr(timing, "latency", lambda *_, **__: measured.append(1) or {})
    with pytest.raises(BusyError, match="other work takes 80 %"):
        quiet_latency(tiny_bundle, 32)
    with pytest.raises(BusyError, match="other work takes 90 %"):
        quiet_latency(tiny_bundle, 32)
    assert measured == [1]


def test_a_card_keeps_the_networks_own_medians(bundle_copy: Path) -> None:
    found = {
        **dict.fromkeys(("batch", "size", "threads", "warmups", "runs", "ratio"), 1),
        "machine": {"cpu": "A processor", "cores": 2, "system": "Linux"},
        **{"candidate": "student, ONNX Runtime", "baseline": "teacher, torch eager", "seed": 0},
        "rows": [
            {"name": "student, ONNX Runtime", "p50_ms": 2.0},
            {"name": "student, ONNX Runtime; cold", "p50_ms": 3},
        ],
    }
    keep(bundles.load(bundle_copy), found)
    kept = bundles.load(bundle_copy).card.metrics.benchmark_report
    assert kept["rows"] == found["rows"][:1]
    assert "seed" not in kept


def test_the_engines_give_one_answer(tiny_bundle: Bundle) -> None:
    x = torch.rand(1, 3, 96, 96)
    logits = {name: engine(x) for name, engine in timing._engines(tiny_bundle, 1).items()}
    for role in ("teacher", "student"):
        own = [value for name, value in logits.items() if name.startswith(role)]
        for other in own[1:]:
            np.testing.assert_allclose(own[0], other, atol=1e-3)


@pytest.mark.parametrize("color", [False, True])
def test_the_whole_way_is_that_of_a_reading(tiny_bundle: Bundle, color: bool, tmp_path: Path) -> None:
    """Each timed call gives what the Predictor says of the same file; torchvision's way differs by rounding only."""
    card = tiny_bundle.card.replace(eligibility={"modalities": ["mri"], "color": color})
    bundle = dataclasses.replace(tiny_bundle, card=card)
    engines = timing._engines(bundle, 1)
    calls = timing._whole(bundle, engines, bundle.spec.size, 1, (96,))
    image = timing.drawn(96, color)
    PIL.Image.fromarray(image.display()).save(tmp_path / "picture.png")
    decoded: Image = read(tmp_path / "picture.png")
    np.testing.assert_array_equal(decoded.pixels, image.pixels)
    assert decoded.pixels.dtype == image.pixels.dtype
    reading = Predictor(bundle, 1).read(decoded, explain="gradcam", confirmed=True)
    for name in engines:
        opinion = getattr(reading, name.split(",")[0])
        found = calls[timing.WHOLE.format(name, 96)]()
        np.testing.assert_allclose(found[0], list(opinion.probabilities.values()), atol=1e-4)
    plain = calls[timing.WHOLE.format(timing.PLAIN, 96)]()
    np.testing.assert_allclose(plain[0], list(reading.teacher.probabilities.values()), atol=0.02)
    maps = calls[timing.MAPS.format(96)]()
    for role in ("teacher", "student"):
        np.testing.assert_allclose(maps[role].values, getattr(reading, role).heat_map.values, atol=1e-4)


@pytest.mark.parametrize("wrong", [{"runs": 49}, {"warmups": 9}, {"size": 16}, {"threads": 0}])
def test_a_sloppy_measurement_is_refused(tiny_bundle: Bundle, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="asked for"):
        latency(tiny_bundle, **wrong)  # type: ignore[arg-type]
