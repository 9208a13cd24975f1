"""How fast heat maps are, and how near the quick ways of Score-CAM come to the one that tries every mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdlight.benchmark.timer import Figures, Report, Row, interleave, machine, row
from kdlight.bundle import Bundle
from kdlight.data.dataset import Progress
from kdlight.explain import DEFAULT, Explanation, explained, similarity
from kdlight.images import read
from kdlight.inference.engines import flushed_denormals, torch_threads
from kdlight.models import Classifier, create_model, load_state
from kdlight.models.mobilenet import load_backbone
from kdlight.processes import cores

SCORE_CAM, EVERY_MASK = "Score-CAM of the teacher", "Score-CAM of the teacher, every mask"
FAST = "Score-CAM of the teacher, fast"
OF_TEACHER = {SCORE_CAM: "scorecam", EVERY_MASK: "scorecam-exact", FAST: "scorecam-fast"}
OF_STUDENT = {"Score-CAM of the student": "scorecam", "class map of the student": "cam"}
OF_BOTH = {"Grad-CAM of teacher and student": "gradcam", "default map of teacher and student": DEFAULT}

Way = Callable[[Tensor], Explanation]
"""A prepared image (1, 3, S, S) to the map of the model's top class, of both models to the student's."""


class ExplainRow(Row):
    """One way's times per image."""

    runs: int
    pearson: float | None
    """Of a way of Score-CAM: median correlation with the map of every mask, on the same image; None where flat."""


class Likeness(Figures):
    """Correlation (Pearson) of a quick way's maps with those of every mask, over `images`."""

    images: int
    flat: int
    """Images on which a map was flat: they have no correlation."""
    median: float | None
    p05: float | None
    least: float | None
    as_near_as_stated: float | None
    """Share of the images on which the correlation was at least what the map's note estimates."""


class ExplainReport(Report):
    """`ratio` is the median of the Score-CAM that tries every mask over that of `scorecam`."""

    benchmark: str = "explain"
    warmups: int = 1
    candidate: str = SCORE_CAM
    baseline: str = EVERY_MASK
    bundle: str
    bundle_sha256: str
    weights: str | None
    """The file whose network took the teacher's place."""
    size: int
    """Side of the input in pixels."""
    images: int
    seed: int = 0
    rows: tuple[ExplainRow, ...]
    ratios: dict[str, float]
    """The baseline's median over each row's."""
    likeness: dict[str, Likeness]


def explain_speed(
    bundle: Bundle,
    images: Sequence[Path] = (),
    size: int = 224,
    runs: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    weights: Path | None = None,
) -> ExplainReport:
    """Milliseconds per map, p50 and p95 over `runs`, after one warm-up; each run takes the next of `images`.

    images: the bundle's golden inputs by default; on each the ways of Score-CAM are compared with every mask. runs: 5
    by default, or as many as there are images. weights: a MobileNetV2 state dict with its classifier, in the teacher's
    place. threads: every core by default. progress counts runs. Raises ValueError for less than one run or thread.
    """
    threads, runs = cores() if threads is None else threads, max(5, len(images)) if runs is None else runs
    if runs < 1 or threads < 1:
        raise ValueError(f"{runs} runs on {threads} threads were asked for; at least 1 of each was expected.")
    spec, paths = replace(bundle.spec, size=size), images or sorted((bundle.path / "golden").glob("case_*.png"))
    ways = ways_of(given(weights) if weights else bundle.model("teacher"), bundle.model("student"))
    with torch_threads(threads), flushed_denormals():
        times, maps = timed(ways, [spec.prepare(read(path))[None] for path in paths], runs, progress)
    near = {name: likeness(name, maps[: len(paths)]) for name in OF_TEACHER}
    ratios = {n: float(np.median(times[EVERY_MASK]) / np.median(taken)) for n, taken in times.items()}
    medians = {name: one.median for name, one in near.items()}
    rows = [ExplainRow(**row(n, t).model_dump(), runs=runs, pearson=medians.get(n)) for n, t in times.items()]
    return ExplainReport(
        bundle=bundle.card.id,
        bundle_sha256=bundle.sha256,
        weights=weights.name if weights else None,
        machine=machine(),
        size=size,
        threads=threads,
        runs=runs,
        images=min(runs, len(paths)),
        rows=tuple(rows),
        ratio=ratios[SCORE_CAM],
        ratios=ratios,
        likeness={name: near[name] for name in (SCORE_CAM, FAST)},
    )


def ways_of(teacher: Classifier, student: Classifier) -> dict[str, Way]:
    """Every method that is timed, by the name of its row."""

    def both(x: Tensor, method: str) -> Explanation:
        of_top(teacher, x, method)
        return of_top(student, x, method)

    return {
        **{name: partial(of_top, teacher, method=method) for name, method in OF_TEACHER.items()},
        **{name: partial(of_top, student, method=method) for name, method in OF_STUDENT.items()},
        **{name: partial(both, method=method) for name, method in OF_BOTH.items()},
    }


def of_top(model: Classifier, x: Tensor, method: str) -> Explanation:
    """The map of a model's own top class."""
    with torch.no_grad():
        top = int(model(x).argmax())
    return explained(model, x, top, method)


def timed(
    ways: dict[str, Way], inputs: Sequence[Tensor], runs: int, progress: Progress | None
) -> tuple[dict[str, list[float]], list[dict[str, Explanation]]]:
    """Milliseconds of each way, and the maps of each way of Score-CAM in each run; the first run is not counted."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    every: list[dict[str, Explanation]] = []
    for number in range(-1, runs):
        x = inputs[max(number, 0) % len(inputs)]
        maps: dict[str, Explanation] = {}
        calls = {name: lambda n=name, x=x, maps=maps: maps.update({n: ways[n](x)}) for name in ways}
        taken = interleave(calls, 1, 0, number + 1)
        if number >= 0:
            every.append({name: maps[name] for name in OF_TEACHER})
            for name in ways:
                times[name] += taken[name]
        if progress is not None:
            progress(number + 2, runs + 1)
    return times, every


def likeness(name: str, maps: Sequence[Mapping[str, Explanation]]) -> Likeness:
    """Of one way of Score-CAM, with every mask, over one element per image."""
    pairs = [(similarity(one[name].heat, one[EVERY_MASK].heat), one[name].estimate) for one in maps]
    values = [value for value, _ in pairs if value is not None]
    as_stated = [value >= estimate.pearson for value, estimate in pairs if value is not None and estimate]
    least, p05, median = np.percentile(values, (0, 5, 50)).tolist() if values else (None, None, None)
    near = float(np.mean(as_stated)) if as_stated else None
    return Likeness(
        images=len(maps), flat=len(maps) - len(values), median=median, p05=p05, least=least, as_near_as_stated=near
    )


def given(weights: Path) -> Classifier:
    """MobileNetV2 with a whole state dict, its classifier included. Raises ValueError for another network's."""
    state = load_state(weights)
    head = {tensor.dim(): tensor for name, tensor in state.items() if name.startswith("classifier")}
    if sum(name.startswith("classifier") for name in state) != 2 or set(head) != {1, 2}:
        raise ValueError(f"{weights.name} has no single linear classifier; give a whole MobileNetV2 state dict.")
    model: Any = create_model("mobilenetv2", len(head[2])).eval()
    load_backbone(model, state)
    with torch.no_grad():
        model.classifier.weight.copy_(head[2])
        model.classifier.bias.copy_(head[1])
    network: Classifier = model
    return network
