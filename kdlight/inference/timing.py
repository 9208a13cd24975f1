"""How fast the student is against its teacher: one image at a time, in turns, in one run."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from kdlight.bundle import Bundle
from kdlight.inference.engines import Engine, onnx_engine, torch_engine
from kdlight.reading import ROLES

CANDIDATE = "student, ONNX Runtime"
BASELINE = "teacher, torch eager"
SAME_ENGINE = "teacher, ONNX Runtime"
WARMUPS, RUNS = 10, 50


def latency(
    bundle: Bundle,
    size: int = 224,
    threads: int = 1,
    runs: int = RUNS,
    warmups: int = WARMUPS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Milliseconds per image (1, 3, size, size) of each engine, p50 and p95 over `runs`, with the bundle's weights.

    Every round times each engine once, in an order drawn anew, so that a busy moment hits all alike. `ratio` is the
    baseline's p50 over the candidate's, `ratios` that of every row: above 1 the candidate is faster. `bound` gives the
    processor's measured peak and how long the multiply-adds alone take at it. progress(done, total) counts rounds.
    Raises ValueError for fewer than 10 warm-ups or 50 runs, or a size outside 32 to 1024.
    """
    _check(size, threads, runs, warmups)
    import torch

    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal((1, 3, size, size)).astype(np.float32))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        engines = _engines(bundle, threads)
        times: dict[str, list[float]] = {name: [] for name in engines}
        for round_ in range(warmups + runs):
            for name in rng.permutation(list(engines)).tolist():
                taken = _time(engines[name], x)
                if round_ >= warmups:
                    times[name].append(taken)
            if progress is not None:
                progress(round_ + 1, warmups + runs)
        bound = _bound(bundle, size)
    finally:
        torch.set_num_threads(before)
    settings = {"size": size, "threads": threads, "warmups": warmups, "runs": runs, "seed": seed}
    return _report(bundle, times, settings) | {"bound": bound}


def _engines(bundle: Bundle, threads: int) -> dict[str, Engine]:
    import torch

    from kdlight.compress import export_onnx

    teacher = bundle.model("teacher")
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(teacher, Path(folder) / "teacher.onnx", bundle.spec.size)
        same = onnx_engine(Path(folder) / "teacher.onnx", threads)
    last = bundle.model("teacher").to(memory_format=torch.channels_last)
    return {
        BASELINE: torch_engine(teacher),
        "teacher, torch eager, channels last": torch_engine(last),
        SAME_ENGINE: same,
        "student, torch eager": torch_engine(bundle.model("student")),
        CANDIDATE: onnx_engine(bundle.onnx, threads),
    }


def _bound(bundle: Bundle, size: int, side: int = 1024) -> dict[str, float]:
    """Multiply-adds per second of a float32 matrix product, the best of ten, and each model's time at that rate."""
    import torch

    from kdlight.models import macs

    square = torch.rand(side, side)
    best = min(_time(lambda x: (x @ x).numpy(), square) for _ in range(10))
    rate = side**3 / best  # multiply-adds per millisecond
    return {"peak_gmacs": rate / 1e6} | {f"{role}_ms": macs(bundle.model(role), size) / rate for role in ROLES}


def _time(engine: Engine, x: Any) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    engine(x)
    return (time.perf_counter() - started) * 1000


def _report(bundle: Bundle, times: dict[str, list[float]], settings: dict[str, Any]) -> dict[str, Any]:
    p50 = {name: float(np.percentile(taken, 50)) for name, taken in times.items()}
    rows = [
        {"name": name, "p50_ms": p50[name], "p95_ms": float(np.percentile(taken, 95))} for name, taken in times.items()
    ]
    return {
        "benchmark": "latency",
        "bundle": bundle.card.id,
        "bundle_sha256": bundle.sha256,
        "machine": machine(),
        "batch": 1,
        **settings,
        "rows": rows,
        "candidate": CANDIDATE,
        "baseline": BASELINE,
        "ratio": p50[BASELINE] / p50[CANDIDATE],
        "ratios": {name: taken / p50[CANDIDATE] for name, taken in p50.items()},
    }


def machine() -> dict[str, Any]:
    """Processor, cores, memory and versions; nothing that names the machine or its owner."""
    import psutil

    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "onnxruntime", "numpy")},
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _check(size: int, threads: int, runs: int, warmups: int) -> None:
    if runs < RUNS or warmups < WARMUPS:
        raise ValueError(
            f"{warmups} warm-ups and {runs} runs were asked for; at least {WARMUPS} and {RUNS} are needed."
        )
    if not 32 <= size <= 1024:
        raise ValueError(f"A size of {size} px was asked for; 32 to 1024 was expected.")
    if threads < 1:
        raise ValueError(f"{threads} threads were asked for; at least 1 was expected.")
