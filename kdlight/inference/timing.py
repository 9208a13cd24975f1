"""How fast the student is against its teacher: one image at a time, in turns, in one run."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from kdlight.bundle import Bundle
from kdlight.inference.engines import Engine, onnx_engine, torch_engine

CANDIDATE = "student, ONNX Runtime"
BASELINE = "teacher, torch eager"
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
    baseline's p50 over the candidate's: above 1 the candidate is faster. progress(done, total) counts rounds.
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
    finally:
        torch.set_num_threads(before)
    return _report(bundle, times, {"size": size, "threads": threads, "warmups": warmups, "runs": runs, "seed": seed})


def _engines(bundle: Bundle, threads: int) -> dict[str, Engine]:
    import torch

    last = bundle.model("teacher").to(memory_format=torch.channels_last)
    return {
        BASELINE: torch_engine(bundle.model("teacher")),
        "teacher, torch eager, channels last": torch_engine(last),
        "student, torch eager": torch_engine(bundle.model("student")),
        CANDIDATE: onnx_engine(bundle.onnx, threads),
    }


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
