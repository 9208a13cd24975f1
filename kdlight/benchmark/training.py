"""How long an epoch of distillation takes: with cached teacher outputs, asking the teacher, and without one.

Whole epochs of the loop that trains, augmentation on, interleaved; a ratio is the median over rounds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kdlight.benchmark import loops
from kdlight.benchmark.loops import ALONE, ASKED, CACHED, MEMORY, METHOD, PLAIN, POLICY, STUDENT, TEACHER, Bench, Times
from kdlight.benchmark.timer import Figures, Report, Row, machine, ratio, row
from kdlight.data.dataset import Progress
from kdlight.inference.engines import flushed_denormals, torch_threads
from kdlight.preprocessing import InputSpec
from kdlight.training.batches import keep_freed_memory

BIG = ("vgg19", "fusion_skin")
FEW = 64
"""Images for teachers that take a third of a second for one."""
VIEWS = 15
"""Of kdlight's own recipes: what filling the cache is reckoned for."""
TARGETS = {"over_alone": 1.15, "faster_than_plain": 2.5, "rate_of_memory": 0.95}
"""Of an epoch with cached outputs: times an epoch without a teacher, at most; times as fast as a plain loop, at least;
share of the rate on images that nothing is done to, at least."""


class TrainingRow(Row):
    """One way's times per epoch."""

    images: int
    teacher: str | None
    """Whose outputs are cached; None where none are."""


class Ratios(Figures):
    """Of epochs, see TARGETS."""

    over_alone: dict[str, float]
    """By teacher."""
    faster_than_plain: float
    faster_than_asking: float
    rate_of_memory: float


class Target(Figures):
    """What a ratio should reach."""

    name: str
    value: float
    target: float
    reached: bool


class Filling(Figures):
    """What the cache costs once."""

    ms_per_image_and_view: dict[str, float]
    """By teacher."""
    views: int
    paid_after_epochs: float | None
    """Of a run with so many views, the first on this set, with MobileNetV2; a second seed or method finds it filled."""


class TrainingReport(Report):
    """`ratio` is that of the plain loop's epoch and one with cached outputs of MobileNetV2."""

    benchmark: str = "training"
    warmups: int = 1
    candidate: str = CACHED
    baseline: str = PLAIN
    size: int
    """Side of the input in pixels."""
    batch: int = loops.BATCH
    student: str = STUDENT
    method: str = METHOD
    augmentation: str = POLICY
    rows: tuple[TrainingRow, ...]
    ratios: Ratios
    targets: tuple[Target, ...]
    filling: Filling


def epochs(
    data: Path | None = None,
    images: int = 512,
    size: int = 128,
    rounds: int = 5,
    threads: int = 1,
    big: Sequence[str] = BIG,
    progress: Progress | None = None,
) -> TrainingReport:
    """Times of an epoch, p50 and p95 of `rounds`: of at most `images` of `size` px, for the `big` teachers of FEW.

    data: a labeled set; without one, drawn shapes. Weights are random. progress(done, total) counts rounds.
    Raises BenchmarkError for less than two batches of images, DataError where `data` cannot be read.
    """
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder, torch_threads(threads), flushed_denormals():
        bench = Bench.of(loops.images_of(data, images, Path(folder)), InputSpec(size), Path(folder))
        whole = bench.whole(rounds, _half(progress, 0, rounds + 1))
        few = bench.first(FEW)
        small = few.several(big, rounds, _half(progress, rounds + 1, rounds + 1))
    ratios = Ratios(
        over_alone={TEACHER: ratio(whole.times, CACHED, ALONE)} | {n: ratio(small.times, n, ALONE) for n in big},
        faster_than_plain=ratio(whole.times, PLAIN, CACHED),
        faster_than_asking=ratio(whole.times, ASKED, CACHED),
        rate_of_memory=ratio(whole.times, MEMORY, CACHED),
    )
    return TrainingReport(
        machine=machine(),
        threads=threads,
        runs=rounds,
        size=size,
        rows=(
            *_rows(whole.times, {CACHED: TEACHER, MEMORY: TEACHER}, len(bench.train)),
            *_rows_of_few(small.times, big, len(few.train)),
        ),
        ratio=ratios.faster_than_plain,
        ratios=ratios,
        targets=_targets(ratios),
        filling=_filling(whole.filling | small.filling, whole.times, len(bench.train)),
    )


def _rows_of_few(times: Times, big: Sequence[str], images: int) -> list[TrainingRow]:
    """Rows of the big teachers, which say that they are of fewer images."""
    cached = {name: f"outputs of {name} cached" for name in big}
    names = {way: f"{cached.get(way, way)}, {images} images" for way in times}
    return _rows({names[way]: times[way] for way in names}, {names[name]: name for name in big}, images)


def _half(progress: Progress | None, done: int, rounds: int) -> Progress | None:
    """One of two races as a part of the whole."""
    return None if progress is None else lambda now, _: progress(done + now, 2 * rounds)


def _rows(times: Times, teachers: Mapping[str, str], images: int) -> list[TrainingRow]:
    """teachers: by way, those whose outputs are cached."""
    return [
        TrainingRow(**row(way, taken).model_dump(), images=images, teacher=teachers.get(way))
        for way, taken in times.items()
    ]


def _targets(ratios: Ratios) -> tuple[Target, ...]:
    values = [("over_alone", teacher, value) for teacher, value in ratios.over_alone.items()]
    values += [(name, TEACHER, getattr(ratios, name)) for name in ("faster_than_plain", "rate_of_memory")]
    return tuple(
        Target(
            name=f"{name} {teacher}",
            value=value,
            target=TARGETS[name],
            reached=value <= TARGETS[name] if name == "over_alone" else value >= TARGETS[name],
        )
        for name, teacher, value in values
    )


def _filling(each: dict[str, float], times: Times, images: int) -> Filling:
    saved = float(np.median(np.subtract(times[ASKED], times[CACHED])))
    paid = VIEWS * images * each[TEACHER] / saved if saved > 0 else None
    return Filling(ms_per_image_and_view=each, views=VIEWS, paid_after_epochs=paid)
