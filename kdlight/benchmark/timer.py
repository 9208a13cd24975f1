"""The one timer: several ways to do the same, interleaved in one run, and the machine that they were timed on."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from kdlight.bundle.speed import Machine
from kdlight.data.dataset import Progress
from kdlight.processes import cores

Way = Callable[[], Any]
MOST_BUSY = 20.0
"""Percent of the processor that other work may take while times are measured; ours."""
LISTEN = 0.5
"""Seconds over which that is looked at."""


class BusyError(ValueError):
    """Other work would be measured with the models."""

    def __init__(self, percent: float) -> None:
        super().__init__(
            f"No time was measured: other work takes {percent:.0f} % of this machine's processor, and at most "
            f"{MOST_BUSY:.0f} % was expected. Try again when it is quiet."
        )


class Figures(BaseModel):
    """Values of a report."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(Figures):
    """One way's times: median and 95th percentile in milliseconds."""

    name: str
    p50_ms: float
    p95_ms: float


class Report(Figures):
    """What every benchmark says. Ratios above 1 mean that the candidate is faster."""

    benchmark: str
    machine: Machine
    threads: int
    warmups: int
    runs: int
    candidate: str
    baseline: str
    ratio: float
    """The baseline's median over the candidate's, or as the benchmark says."""


def interleave(
    ways: Mapping[str, Way],
    runs: int,
    warmups: int,
    seed: int = 0,
    progress: Progress | None = None,
    block: int = 1,
    lead: int = 0,
) -> dict[str, list[float]]:
    """Milliseconds of `runs` calls of each way, so that a busy moment hits all alike.

    In every round each way is called `block` times in a row, in an order drawn anew; `lead` calls before are not timed,
    so that those find warm caches. The first `warmups` calls are left out. progress(done, total) counts rounds.
    """
    rng = np.random.default_rng(seed)
    times: dict[str, list[float]] = {name: [] for name in ways}
    skipped, total = -(-warmups // block), -(-(warmups + runs) // block)
    for number in range(total):
        for name in rng.permutation(list(ways)).tolist():
            timed = [milliseconds(ways[name]) for _ in range(lead + block)][lead:]
            if number >= skipped:
                times[name] += timed
        if progress is not None:
            progress(number + 1, total)
    return {name: timed[:runs] for name, timed in times.items()}


def milliseconds(way: Way) -> float:
    """Of one call."""
    started = time.perf_counter()
    way()
    return (time.perf_counter() - started) * 1000


def row(name: str, times: list[float]) -> Row:
    p50, p95 = np.percentile(times, (50, 95)).tolist()
    return Row(name=name, p50_ms=p50, p95_ms=p95)


def ratio(times: Mapping[str, list[float]], first: str, second: str) -> float:
    """How many times as long `first` takes as `second`: the median over rounds of the two times of one round."""
    return float(np.median(np.array(times[first]) / np.array(times[second])))


def check_quiet() -> None:
    """Raises BusyError where other work keeps the processor busy. To be called while nothing of one's own runs."""
    import psutil

    percent = float(psutil.cpu_percent(LISTEN))
    if percent > MOST_BUSY:
        raise BusyError(percent)


def machine() -> Machine:
    """This one."""
    import psutil

    return Machine(
        cpu=_processor(),
        cores=cores(),
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        system=platform.system(),
        python=platform.python_version(),
        **{package: version(package) for package in ("torch", "onnxruntime", "numpy")},
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
