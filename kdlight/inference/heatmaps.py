"""How fast heat maps are, against the grad-cam package: the same images, in turns, in one run."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdlight.bundle import Bundle
from kdlight.explain import explain, similarity
from kdlight.images import Image, read
from kdlight.inference.engines import flushed_denormals
from kdlight.inference.timing import machine
from kdlight.reading import ROLES

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGE = "Score-CAM of the teacher, grad-cam package, batch {}"
BATCHES = (16, 64)
EXACT, FAST = "Score-CAM of the teacher, every mask", "Score-CAM of the teacher, fast"
STUDENT, BOTH = "Score-CAM of the student, every mask", "Grad-CAM of teacher and student"
CLASS_MAP = "class map of the student"

Call = Callable[["Tensor", int], np.ndarray]
"""A prepared image (1, 3, S, S) and a class to a map (S, S)."""


def explain_speed(
    bundle: Bundle,
    images: Sequence[Path] = (),
    size: int = 224,
    runs: int = 3,
    threads: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Milliseconds per map, p50 and p95 over `runs`, and each teacher map's Pearson to the package's on that image.

    Every run takes the next of `images` (the bundle's golden inputs if none are given), for the teacher's top class,
    and times each method once, in an order drawn anew; one run before is not counted, without the package. `ratio` is
    the package's p50 at its better batch size over that of every mask, `ratios` over every row. `bound` says how long
    the multiply-adds of the masks alone take at the processor's measured peak. progress(done, total) counts runs.
    Raises ValueError for less than one run or thread, or a size outside 32 to 1024.
    """
    import torch

    if runs < 1 or threads < 1:
        raise ValueError(f"{runs} runs on {threads} threads were asked for; at least 1 of each was expected.")
    inputs = _inputs(bundle, images, size)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        calls = _calls({role: bundle.model(role) for role in ROLES})
        times, maps = _run(bundle, calls, inputs, runs, np.random.default_rng(seed), progress)
        bound = _bound(bundle, inputs[0], size)
    finally:
        torch.set_num_threads(before)
    settings = {"size": size, "threads": threads, "runs": runs, "images": min(runs, len(inputs)), "seed": seed}
    return _report(bundle, times, maps, {**settings, "warmups": 1, "bound": bound})


def _run(
    bundle: Bundle, calls: dict[str, Call], inputs: list[Tensor], runs: int, rng: np.random.Generator, progress: Any
) -> tuple[dict[str, list[float]], dict[str, list[np.ndarray]]]:
    """Milliseconds and maps per method, run by run."""
    import torch

    teacher = bundle.model("teacher")
    times: dict[str, list[float]] = {name: [] for name in calls}
    maps: dict[str, list[np.ndarray]] = {name: [] for name in calls}
    for run in range(-1, runs):
        x = inputs[run % len(inputs)]
        with torch.no_grad():
            top = int(teacher(x).argmax())
        for name in rng.permutation(list(calls)).tolist():
            if run < 0 and name.startswith(PACKAGE.format("")):
                continue
            started = time.perf_counter()
            with flushed_denormals():
                heat = calls[name](x, top)
            if run >= 0:
                times[name].append((time.perf_counter() - started) * 1000)
                maps[name].append(heat)
        if progress is not None:
            progress(run + 2, runs + 1)
    return times, maps


def _calls(models: dict[Any, nn.Module]) -> dict[str, Call]:
    teacher, student = models["teacher"], models["student"]

    def both(x: Tensor, top: int) -> np.ndarray:
        explain(teacher, x, top)
        return explain(student, x, top)

    return {
        **{PACKAGE.format(batch): package(teacher, batch) for batch in BATCHES},
        EXACT: lambda x, top: explain(teacher, x, top, "scorecam-exact"),
        FAST: lambda x, top: explain(teacher, x, top, "scorecam-fast"),
        STUDENT: lambda x, top: explain(student, x, top, "scorecam-exact"),
        BOTH: both,
        CLASS_MAP: lambda x, top: explain(student, x, top, "cam"),
    }


def package(model: Any, batch: int) -> Call:
    """Score-CAM by the grad-cam package, as its users call it; its progress bar is kept off the screen."""
    from pytorch_grad_cam import ScoreCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def run(x: Tensor, top: int) -> np.ndarray:
        with contextlib.redirect_stderr(io.StringIO()), ScoreCAM(model, [model.cam_layer]) as cam:
            cam.batch_size = batch
            heat: np.ndarray = cam(x, [ClassifierOutputTarget(top)])[0]
        return heat

    return run


def _inputs(bundle: Bundle, images: Sequence[Path], size: int) -> list[Tensor]:
    spec = dataclasses.replace(bundle.spec, size=size)
    paths = list(images) or sorted((bundle.path / "golden").glob("case_*.png"))
    found: list[Image] = [read(path) for path in paths]
    return [spec.prepare(image)[None] for image in found]


def _bound(bundle: Bundle, x: Tensor, size: int) -> dict[str, float]:
    """What the multiply-adds of every distinct mask cost at the best rate of a float32 matrix product of 1024."""
    import torch

    from kdlight.explain.scorecam import distinct, feature_maps
    from kdlight.models import macs

    teacher, square = bundle.model("teacher"), torch.rand(1024, 1024)
    seconds = []
    for _ in range(10):
        started = time.perf_counter()
        square @ square
        seconds.append(time.perf_counter() - started)
    rate = 1024**3 / min(seconds)
    maps = feature_maps(teacher, x, 0)
    masks, each = len(distinct(maps)[0]), macs(teacher, size)
    return {
        "maps": len(maps),
        "masks": masks,
        "gmacs_each": each / 1e9,
        "peak_gmacs": rate / 1e9,
        "ms": masks * each / rate * 1000,
    }


def _report(
    bundle: Bundle, times: dict[str, list[float]], maps: dict[str, list[np.ndarray]], settings: dict[str, Any]
) -> dict[str, Any]:
    p50 = {name: float(np.percentile(taken, 50)) for name, taken in times.items()}
    baseline = min((PACKAGE.format(batch) for batch in BATCHES), key=lambda name: p50[name])
    rows = [
        {
            "name": name,
            "p50_ms": p50[name],
            "p95_ms": float(np.percentile(taken, 95)),
            "pearson": _likeness(maps[name], maps[baseline]) if name in (EXACT, FAST) else None,
        }
        for name, taken in times.items()
    ]
    return {
        "benchmark": "explain",
        "bundle": bundle.card.id,
        "bundle_sha256": bundle.sha256,
        "machine": machine(),
        **settings,
        "rows": rows,
        "candidate": EXACT,
        "baseline": baseline,
        "ratio": p50[baseline] / p50[EXACT],
        "ratios": {name: p50[baseline] / taken for name, taken in p50.items()},
    }


def _likeness(maps: list[np.ndarray], reference: list[np.ndarray]) -> float | None:
    """Median Pearson over the images; None where all are flat."""
    found = [similarity(one, other) for one, other in zip(maps, reference, strict=True)]
    known = [value for value in found if value is not None]
    return float(np.median(known)) if known else None
