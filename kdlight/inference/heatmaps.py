"""How fast heat maps are, against the grad-cam package: the same images, in turns, in one run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdlight.bundle import Bundle
from kdlight.explain import DEFAULT, explain, explained, similarity
from kdlight.images import read
from kdlight.inference.engines import flushed_denormals
from kdlight.inference.peer import best_batch, package
from kdlight.inference.timing import machine

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = "Score-CAM of the teacher, grad-cam package"
SAME, EXACT = "Score-CAM of the teacher", "Score-CAM of the teacher, every mask"
FAST = "Score-CAM of the teacher, fast"
STUDENT, BOTH = "Score-CAM of the student", "Grad-CAM of teacher and student"
CLASS_MAP = "class map of the student"
SHOWN = "default map of teacher and student"
MORE = 5
"""Runs of each of our own methods for one of the package's, which takes longest by far."""

Call = Callable[["Tensor", int], np.ndarray]
"""A prepared image (1, 3, S, S) and a class to a map (S, S)."""
Progress = Callable[[int, int], None]


def explain_speed(
    bundle: Bundle,
    images: Sequence[Path] = (),
    size: int = 224,
    runs: int = 1,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    weights: Path | None = None,
    likeness: Sequence[Path] = (),
) -> dict[str, Any]:
    """Milliseconds per map, p50 and p95, and each teacher map's Pearson to the package's on the same image.

    The package's cells are laid as ours are, at their receptive fields' centers.

    The package runs `runs` times, at the batch size that is best on its first masks here (`probe`, in milliseconds per
    mask); each other method MORE times as often, before and after it in an order drawn anew. Every run of the package
    takes the next of `images` (the bundle's golden inputs if none are given), for the teacher's top class. `ratio` is
    the package's p50 over SAME's, `ratios` over every row's. `bound` says how long the multiply-adds of the masks alone
    take at the processor's measured peak. `likeness`: images on which SAME and FAST are held against every mask.
    `weights`: a MobileNetV2 state dict, classifier included, that takes the teacher's place. threads: every core
    by default. progress(done, total) counts rounds, then the images of `likeness`. Raises ValueError for less than one
    run or thread.
    """
    import torch

    threads = int(machine()["cores"]) if threads is None else threads
    if runs < 1 or threads < 1:
        raise ValueError(f"{runs} runs on {threads} threads were asked for; at least 1 of each was expected.")
    race = Race(bundle, weights, size, np.random.default_rng(seed))
    inputs = race.inputs(images or sorted((bundle.path / "golden").glob("case_*.png")))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with flushed_denormals():
            race.run(inputs, runs, progress)
            bound = _bound(race.teacher, inputs[0], size)
            alike = _alike(race, likeness, progress) if likeness else {}
    finally:
        torch.set_num_threads(before)
    settings = {"size": size, "threads": threads, "runs": runs, "images": min(runs, len(inputs)), "seed": seed}
    origin = {"bundle": bundle.card.id, "bundle_sha256": bundle.sha256, "weights": weights.name if weights else None}
    return {"benchmark": "explain", **origin, "machine": machine(), **settings, **race.report(), "bound": bound} | alike


class Race:
    """Every method on one image after the other: milliseconds and maps of each."""

    def __init__(self, bundle: Bundle, weights: Path | None, size: int, rng: np.random.Generator) -> None:
        self.spec = dataclasses.replace(bundle.spec, size=size)
        self.rng = rng
        self.teacher = _given(weights) if weights else bundle.model("teacher")
        student = bundle.model("student")
        self.calls: dict[str, Call] = {
            SAME: lambda x, top: explain(self.teacher, x, top, "scorecam"),
            EXACT: lambda x, top: explain(self.teacher, x, top, "scorecam-exact"),
            FAST: lambda x, top: explain(self.teacher, x, top, "scorecam-fast"),
            STUDENT: lambda x, _: explain(student, x, _top(student, x), "scorecam"),
            BOTH: lambda x, top: self._both(student, x, top, "gradcam"),
            SHOWN: lambda x, top: self._both(student, x, top, DEFAULT),
            CLASS_MAP: lambda x, _: explain(student, x, _top(student, x), "cam"),
        }
        self.times: dict[str, list[float]] = {name: [] for name in (PACKAGE, *self.calls)}
        self.maps: dict[str, list[np.ndarray]] = {PACKAGE: [], SAME: [], EXACT: [], FAST: []}
        self.probe: dict[int, float] = {}

    def _both(self, student: Any, x: Tensor, top: int, method: str) -> np.ndarray:
        summed: np.ndarray = explain(self.teacher, x, top, method) + explain(student, x, _top(student, x), method)
        return summed

    def inputs(self, paths: Sequence[Path]) -> list[Tensor]:
        return [self.spec.prepare(read(path))[None] for path in paths]

    def run(self, inputs: list[Tensor], runs: int, progress: Progress | None) -> None:
        """The package once and all others MORE times on each of `runs` images, after one warm-up of the others."""
        x, total = inputs[0], 1 + runs * (MORE + 1)
        for call in self.calls.values():
            call(x, _top(self.teacher, x))
        self.probe = best_batch(self.teacher, x, _top(self.teacher, x))
        for number in range(runs):
            x = inputs[number % len(inputs)]
            last = int(self.rng.integers(1, MORE))
            for turn in range(MORE + 1):
                self._turn(x, [PACKAGE] if turn == last else list(self.calls), keep=turn == 0)
                if progress is not None:
                    progress(2 + number * (MORE + 1) + turn, total)

    def _turn(self, x: Tensor, names: list[str], keep: bool) -> None:
        top = _top(self.teacher, x)
        for name in self.rng.permutation(names).tolist():
            call = package(self.teacher, min(self.probe, key=self.probe.__getitem__)) if name == PACKAGE else None
            started = time.perf_counter()
            heat = (call or self.calls[name])(x, top)
            self.times[name].append((time.perf_counter() - started) * 1000)
            if name in self.maps and (keep or name == PACKAGE):
                self.maps[name].append(heat)

    def report(self) -> dict[str, Any]:
        p50 = {name: float(np.percentile(taken, 50)) for name, taken in self.times.items()}
        rows = [
            {
                "name": name,
                "runs": len(taken),
                "p50_ms": p50[name],
                "p95_ms": float(np.percentile(taken, 95)),
                "pearson": _likeness(self.maps[name], self.maps[PACKAGE]) if name in (SAME, EXACT, FAST) else None,
            }
            for name, taken in self.times.items()
        ]
        best = min(self.probe, key=self.probe.__getitem__)
        return {
            "warmups": 1,
            "probe": {"package_batch": best, "ms_per_mask": {str(size): ms for size, ms in self.probe.items()}},
            "rows": rows,
            "candidate": SAME,
            "baseline": PACKAGE,
            "ratio": p50[PACKAGE] / p50[SAME],
            "ratios": {name: p50[PACKAGE] / taken for name, taken in p50.items()},
        }


def _given(weights: Path) -> Any:
    """MobileNetV2 with a whole state dict, its classifier included. Raises ValueError for another network's."""
    import torch

    from kdlight.models import create_model, load_state
    from kdlight.models.mobilenet import load_backbone

    state = load_state(weights)
    matrix = [tensor for name, tensor in state.items() if name.startswith("classifier") and tensor.dim() == 2]
    vector = [tensor for name, tensor in state.items() if name.startswith("classifier") and tensor.dim() == 1]
    if len(matrix) != 1 or len(vector) != 1:
        raise ValueError(f"{weights.name} has no single linear classifier; give a whole MobileNetV2 state dict.")
    model: Any = create_model("mobilenetv2", len(matrix[0])).eval()
    load_backbone(model, state)
    with torch.no_grad():
        model.classifier.weight.copy_(matrix[0])
        model.classifier.bias.copy_(vector[0])
    return model


def _top(model: Any, x: Tensor) -> int:
    import torch

    with torch.no_grad():
        return int(model(x).argmax())


def _bound(model: Any, x: Tensor, size: int) -> dict[str, Any]:
    """What the multiply-adds of every distinct mask cost at the best rate of a matrix product of 1024, each type."""
    import torch

    from kdlight.bounds import product_rate
    from kdlight.explain.scorecam import distinct, feature_maps
    from kdlight.models import macs

    maps, _ = feature_maps(model, x, 0)
    masks, each = len(distinct(maps)[0]), macs(model, size)
    found: dict[str, Any] = {"maps": len(maps), "masks": masks, "gmacs_each": each / 1e9}
    for kind in (torch.float32, torch.bfloat16):
        gmacs = product_rate(kind)
        name = str(kind).removeprefix("torch.")
        found[name] = {"peak_gmacs": gmacs, "ms": 1e-6 * masks * each / gmacs}
    return found


def _alike(race: Race, paths: Sequence[Path], progress: Progress | None) -> dict[str, Any]:
    """SAME and FAST against every mask, image by image: Pearson, and how often it was as near as the note says."""
    found: dict[str, list[float]] = {SAME: [], FAST: []}
    kept: dict[str, list[bool]] = {SAME: [], FAST: []}
    for number, path in enumerate(paths):
        (x,) = race.inputs([path])
        top = _top(race.teacher, x)
        whole = race.calls[EXACT](x, top)
        for name, method in ((SAME, "scorecam"), (FAST, "scorecam-fast")):
            explanation = explained(race.teacher, x, top, method)
            value, estimate = similarity(explanation.heat, whole), explanation.estimate
            found[name] += [value] if value is not None else []
            kept[name] += [value >= estimate.pearson] if value is not None and estimate is not None else []
        if progress is not None:
            progress(number + 1, len(paths))
    return {"likeness": {name: _summary(values, kept[name], len(paths)) for name, values in found.items()}}


def _summary(values: list[float], kept: list[bool], images: int) -> dict[str, Any]:
    low, p05, median = (float(v) for v in np.percentile(values, (0, 5, 50))) if values else (None, None, None)
    held = float(np.mean(kept)) if kept else None
    spread = {"median": median, "p05": p05, "least": low}
    return {"images": images, "flat": images - len(values), **spread, "as_near_as_stated": held}


def _likeness(maps: list[np.ndarray], reference: list[np.ndarray]) -> float | None:
    """Median Pearson over the images; None where all are flat."""
    found = [similarity(one, other) for one, other in zip(maps, reference, strict=True)]
    known = [value for value in found if value is not None]
    return float(np.median(known)) if known else None
