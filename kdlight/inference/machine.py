"""What was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

MOST_BUSY = 20.0
"""Percent of the processor that other work may take while times are measured; ours."""
LISTEN = 0.5
"""Seconds over which that is looked at."""


class BusyError(ValueError):
    """Times taken now would say more about the other work on this machine than about the models."""

    def __init__(self, percent: float) -> None:
        super().__init__(
            f"No time was measured: other work takes {percent:.0f} % of this machine's processor, and at most "
            f"{MOST_BUSY:.0f} % was expected. Try again when it is quiet."
        )


def check_quiet() -> None:
    """Raises BusyError where other work keeps the processor busy. To be called while nothing of one's own runs."""
    import psutil

    percent = float(psutil.cpu_percent(LISTEN))
    if percent > MOST_BUSY:
        raise BusyError(percent)


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
