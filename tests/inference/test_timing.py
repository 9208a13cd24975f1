"""The latency report: what it times, what it says, and what it refuses. Never how fast."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from kdlight.bundle import Bundle
from kdlight.inference import latency, timing
from kdlight.models import macs


def test_the_report_counts_every_timed_round(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a made-up clock each engine's percentiles are known."""
    base = {"teacher, torch eager": 8.0, "teacher, torch eager, channels last": 7.0, "student, torch eager": 2.0}
    base |= {"student, ONNX Runtime": 0.5, "teacher, ONNX Runtime": 3.0}
    rounds: dict[str, int] = dict.fromkeys(base, 0)
    threads_seen: set[int] = set()

    def clock(engine: str, _x: torch.Tensor) -> float:
        rounds[engine] += 1
        threads_seen.add(torch.get_num_threads())
        return base[engine] * (1000 if rounds[engine] <= 10 else rounds[engine])

    before = torch.get_num_threads()
    monkeypatch.setattr(timing, "_engines", lambda _bundle, _threads: {name: name for name in base})
    monkeypatch.setattr(timing, "_time", clock)
    monkeypatch.setattr(timing, "_bound", lambda _bundle, _size: {})
    seen: list[tuple[int, int]] = []
    found = latency(tiny_bundle, size=32, threads=before + 1, progress=lambda done, total: seen.append((done, total)))
    counts = np.arange(11, 61)
    for row in found["rows"]:
        assert row["p50_ms"] == pytest.approx(np.median(counts) * base[row["name"]])
        assert row["p95_ms"] == pytest.approx(np.quantile(counts, 0.95) * base[row["name"]])
    assert found["ratio"] == pytest.approx(16)
    assert found["ratios"] == pytest.approx({name: taken / 0.5 for name, taken in base.items()})
    assert seen == [(n, 60) for n in range(1, 61)]
    assert (threads_seen, torch.get_num_threads()) == ({before + 1}, before)


def test_every_engine_runs_and_the_report_is_json(tiny_bundle: Bundle) -> None:
    found = json.loads(json.dumps(latency(tiny_bundle, size=32)))
    assert {"machine", "threads", "warmups", "runs", "rows", "candidate", "baseline", "ratio"} <= set(found)
    names = [row["name"] for row in found["rows"]]
    assert found["candidate"] in names
    assert found["baseline"] in names
    assert all(0 < row["p50_ms"] <= row["p95_ms"] for row in found["rows"])
    bound = found["bound"]
    expected = macs(tiny_bundle.model("student"), 32) / bound["peak_gmacs"] / 1e6
    assert bound["student_ms"] == pytest.approx(expected)
    assert found["machine"]["torch"] == torch.__version__.split("+")[0]


def test_the_engines_give_one_answer(tiny_bundle: Bundle) -> None:
    x = torch.rand(1, 3, 96, 96)
    logits = {name: engine(x) for name, engine in timing._engines(tiny_bundle, 1).items()}
    for role in ("teacher", "student"):
        own = [value for name, value in logits.items() if name.startswith(role)]
        for other in own[1:]:
            np.testing.assert_allclose(own[0], other, atol=1e-3)


@pytest.mark.parametrize("wrong", [{"runs": 49}, {"warmups": 9}, {"size": 16}, {"threads": 0}])
def test_a_sloppy_measurement_is_refused(tiny_bundle: Bundle, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="asked for"):
        latency(tiny_bundle, **wrong)  # type: ignore[arg-type]
