"""How fast heat maps are, and how near the quick ways of Score-CAM come to the one that tries every mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from kdlight.preprocessing import InputSpec
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
    runs: int = 5,
    threads: int | None = None,
    progress: Progress | None = None,
    weights: Path | None = None,
    likeness: Sequence[Path] = (),
) -> ExplainReport:
    """Milliseconds per map, p50 and p95 over `runs`, after one warm-up; each run takes the next of `images`.

    images: the bundle's golden inputs by default. likeness: images on which the quick ways of Score-CAM are compared
    with every mask. weights: a MobileNetV2 state dict with its classifier, in the teacher's place. threads: every core
    by default. progress counts runs, then images of `likeness`. Raises ValueError for less than one run or thread.
    """
    threads = cores() if threads is None else threads
    if runs < 1 or threads < 1:
        raise ValueError(f"{runs} runs on {threads} threads were asked for; at least 1 of each was expected.")
    spec, golden = replace(bundle.spec, size=size), sorted((bundle.path / "golden").glob("case_*.png"))
    ways = ways_of(given(weights) if weights else bundle.model("teacher"), bundle.model("student"))
    with torch_threads(threads), flushed_denormals():
        times, pearson = timed(ways, prepared(spec, images or golden), runs, progress)
        near = compared(ways, prepared(spec, likeness), progress) if likeness else {}
    ratios = {n: float(np.median(times[EVERY_MASK]) / np.median(taken)) for n, taken in times.items()}
    rows = [ExplainRow(**row(n, t).model_dump(), runs=runs, pearson=pearson.get(n)) for n, t in times.items()]
    return ExplainReport(
        bundle=bundle.card.id,
        bundle_sha256=bundle.sha256,
        weights=weights.name if weights else None,
        machine=machine(),
        size=size,
        threads=threads,
        runs=runs,
        images=min(runs, len(images or golden)),
        rows=tuple(rows),
        ratio=ratios[SCORE_CAM],
        ratios=ratios,
        likeness=near,
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


def prepared(spec: InputSpec, paths: Sequence[Path]) -> list[Tensor]:
    return [spec.prepare(read(path))[None] for path in paths]


def timed(
    ways: dict[str, Way], inputs: Sequence[Tensor], runs: int, progress: Progress | None
) -> tuple[dict[str, list[float]], dict[str, float | None]]:
    """Milliseconds of each way, and the median correlation of each way of Score-CAM with every mask."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    near: dict[str, list[float]] = {name: [] for name in OF_TEACHER}
    for number in range(-1, runs):
        x = inputs[max(number, 0) % len(inputs)]
        maps: dict[str, Explanation] = {}
        calls = {name: lambda n=name, x=x, maps=maps: maps.update({n: ways[n](x)}) for name in ways}
        taken = interleave(calls, 1, 0, number + 1)
        if number >= 0:
            for name in ways:
                times[name] += taken[name]
            for name, values in near.items():
                if (value := similarity(maps[name].heat, maps[EVERY_MASK].heat)) is not None:
                    values.append(value)
        if progress is not None:
            progress(number + 2, runs + 1)
    return times, {name: float(np.median(values)) if values else None for name, values in near.items()}


def compared(ways: dict[str, Way], inputs: Sequence[Tensor], progress: Progress | None) -> dict[str, Likeness]:
    """The quick ways of Score-CAM against every mask, image by image."""
    values: dict[str, list[float]] = {SCORE_CAM: [], FAST: []}
    as_stated: dict[str, list[bool]] = {SCORE_CAM: [], FAST: []}
    for number, x in enumerate(inputs):
        whole = ways[EVERY_MASK](x).heat
        for name in values:
            explanation = ways[name](x)
            value, estimate = similarity(explanation.heat, whole), explanation.estimate
            if value is not None:
                values[name].append(value)
                as_stated[name] += [value >= estimate.pearson] if estimate else []
        if progress is not None:
            progress(number + 1, len(inputs))
    return {name: _likeness(values[name], as_stated[name], len(inputs)) for name in values}


def _likeness(values: list[float], as_stated: list[bool], images: int) -> Likeness:
    least, p05, median = np.percentile(values, (0, 5, 50)).tolist() if values else (None, None, None)
    near = float(np.mean(as_stated)) if as_stated else None
    return Likeness(
        images=images, flat=images - len(values), median=median, p05=p05, least=least, as_near_as_stated=near
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
