"""Which engine answers fastest on this machine: found once by measurement, within the parity bound, and kept.

Tried are ONNX Runtime with fewer threads than it may have, with and without threads that spin while they wait, and
OpenVINO where it is installed. An engine that gives other answers than the torch student is refused by what it gives.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdlight.bundle import Bundle
from kdlight.inference.engines import Answer, Engine, onnx_engine, torch_engine
from kdlight.inference.machine import machine
from kdlight.inference.turns import blocks
from kdlight.metrics import softmax
from kdlight.stopwatch import row

if TYPE_CHECKING:
    from torch import Tensor

PARITY = 1e-4
"""Largest difference of a calibrated probability to the torch student."""
WORTH = 0.95
"""Another engine than the plain one is taken where it needs at most this share of its time."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run the student's file."""

    runtime: str
    """onnxruntime or openvino."""
    threads: int
    spin: bool = True
    """Of ONNX Runtime: whether threads spin while they wait for work; without, others may use the cores."""
    precision: str = "f32"
    """Of OpenVINO: what it computes in, f32 or bf16."""

    @property
    def name(self) -> str:
        words = f"{self.threads} thread" + "s" * (self.threads > 1)
        if self.runtime == "openvino":
            return f"OpenVINO, {words}, {self.precision}"
        return f"ONNX Runtime, {words}" + ", not spinning" * (not self.spin)


def settings(threads: int) -> list[Setting]:
    """The plain one first: ONNX Runtime with all the threads it may have."""
    counts = sorted({threads, *(2**n for n in range(threads.bit_length()) if 2**n <= threads)}, reverse=True)
    own = [Setting("onnxruntime", n, spin) for n in counts for spin in (True, False) if spin or n > 1]
    other = [Setting("openvino", n, precision=p) for n in counts for p in ("f32", "bf16")]
    return own + (other if find_spec("openvino") else [])


def engine(path: Path, setting: Setting) -> Engine:
    """The student's file, run as the setting says."""
    if setting.runtime == "openvino":
        return OpenVinoEngine(path, setting.threads, setting.precision)
    return onnx_engine(path, setting.threads, setting.spin)


class OpenVinoEngine:
    """A shipped ONNX file on OpenVINO's processor kernels."""

    def __init__(self, path: Path, threads: int, precision: str) -> None:
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = importlib.import_module("openvino").Core().compile_model(str(path), "CPU", options)
        self._request = compiled.create_infer_request()

    def __call__(self, x: Tensor) -> np.ndarray:
        return self.with_maps(x)[0]

    def with_maps(self, x: Tensor) -> Answer:
        logits, *rest = [np.array(found) for found in self._request.infer({0: x.contiguous().numpy()}).values()]
        return logits, rest[0] if rest else None


def choose(bundle: Bundle, threads: int, size: int, runs: int = 50, warmups: int = 10, seed: int = 0) -> dict[str, Any]:
    """Time every setting on one image of `size` px, keep the fastest within the bound, and say what was found.

    `candidates`: name, p50_ms, p95_ms, difference (largest, of a calibrated probability to the torch student on drawn
    inputs) and within (whether that is allowed). `chosen`: the name of the one that a Predictor takes from now on.
    """
    import torch

    x = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(seed))
    engines = {setting: engine(bundle.onnx, setting) for setting in settings(threads)}
    differences = {setting: difference(bundle, one, x) for setting, one in engines.items()}
    ways = {setting.name: (lambda one=one: one(x[:1])) for setting, one in engines.items()}
    times = blocks(ways, runs, warmups, np.random.default_rng(seed))
    rows = [
        {**row(s.name, times[s.name]), "difference": differences[s], "within": differences[s] <= PARITY}
        for s in engines
    ]
    allowed = [(r["p50_ms"], s) for r, s in zip(rows, engines, strict=True) if r["within"]]
    plain, best = next(iter(engines)), min(allowed, key=lambda pair: pair[0], default=None)
    worth = best is not None and best[0] <= WORTH * float(rows[0]["p50_ms"])
    kept = best[1] if best is not None and (worth or not rows[0]["within"]) else plain
    _keep(bundle, threads, kept)
    return {"parity": PARITY, "candidates": rows, "chosen": kept.name}


def difference(bundle: Bundle, one: Engine, x: Tensor) -> float:
    """Largest difference of a calibrated probability to the torch student on x (B, 3, S, S); NaN counts as 1."""
    temperature = bundle.card.temperature("student")
    expected = softmax(torch_engine(bundle.model("student"))(x), temperature)
    found = one(x)
    if not np.isfinite(found).all():
        return 1.0
    return float(np.abs(softmax(found, temperature) - expected).max())


def chosen(bundle: Bundle, threads: int) -> Setting:
    """What `choose` kept on this machine for these files and versions; the plain setting where nothing is kept."""
    try:
        kept = Setting(**json.loads(_place(bundle, threads).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return settings(threads)[0]
    return kept if kept in settings(threads) else settings(threads)[0]


def _keep(bundle: Bundle, threads: int, setting: Setting) -> None:
    path = _place(bundle, threads)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.part")
    beside.write_text(json.dumps(asdict(setting)), encoding="utf-8")
    beside.replace(path)


def _place(bundle: Bundle, threads: int) -> Path:
    """A file named after everything that decides: machine, versions, the bundle's files, the threads allowed."""
    from kdlight.storage import cache_folder

    known = {key: value for key, value in machine().items() if key != "memory_gb"}
    of = json.dumps([known, [s.name for s in settings(threads)], bundle.sha256, threads], sort_keys=True)
    return cache_folder() / "engines" / f"{hashlib.sha256(of.encode()).hexdigest()}.json"
