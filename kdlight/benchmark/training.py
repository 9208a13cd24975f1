"""How long an epoch of distillation takes: with cached teacher outputs, asking the teacher, alone, and by hand.

Whole epochs of the loop that trains, augmentation on, interleaved; a ratio is the median over rounds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from kdlight.benchmark.timer import Figures, Report, Row, Way, interleave, machine, milliseconds, ratio, row
from kdlight.data import Dataset, open_dataset, synthetic
from kdlight.data.dataset import Progress
from kdlight.distillers import Batch, create_distiller
from kdlight.inference.engines import flushed_denormals, torch_threads
from kdlight.models import Classifier, create_model
from kdlight.models.weight_selection import reestimate_batch_norm
from kdlight.preprocessing import InputSpec
from kdlight.preprocessing.augment import augmentation
from kdlight.storage import ArrayCache
from kdlight.training import Arrays
from kdlight.training.batches import keep_freed_memory
from kdlight.training.loop import VIEWS_SEED, Loop, Schedule
from kdlight.training.teacher_cache import TeacherCache

STUDENT, TEACHER = "kdlight_nano", "mobilenetv2"
METHOD = "feature"
"""Of kdlight's own recipes: it needs logits and pooled features."""
POLICY = "dermatoscopy"
"""The augmentation that does most: any way up, color and tint."""
BATCH = 32
ALONE, CACHED, ASKED = "no teacher", "teacher outputs cached", "teacher asked every batch"
PLAIN = "plain loop, teacher asked every batch"
BIG = ("vgg19", "fusion_skin")
FEW = 64
"""Images for teachers that take a third of a second for one."""
VIEWS = 15
"""Of kdlight's own recipes: what filling the cache is reckoned for."""
TARGETS = {"over_alone": 1.15, "faster_than_plain": 2.5}
"""Of an epoch with cached outputs: times an epoch without a teacher, at most; how much faster than a plain loop."""

Times = dict[str, list[float]]


class BenchmarkError(ValueError):
    """What was asked for cannot be timed; the message says why."""


class Timed(NamedTuple):
    """Milliseconds of the epochs of each way, and of filling each teacher's cache per image and view."""

    times: Times
    filling: dict[str, float]


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
    batch: int = BATCH
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
        bench = Bench.of(images_of(data, images, Path(folder)), InputSpec(size), Path(folder))
        whole = bench.whole(rounds, _half(progress, 0, rounds + 1))
        few = bench.first(FEW)
        small = few.several(big, rounds, _half(progress, rounds + 1, rounds + 1))
    ratios = Ratios(
        over_alone={TEACHER: ratio(whole.times, CACHED, ALONE)} | {n: ratio(small.times, n, ALONE) for n in big},
        faster_than_plain=ratio(whole.times, PLAIN, CACHED),
        faster_than_asking=ratio(whole.times, ASKED, CACHED),
    )
    return TrainingReport(
        machine=machine(),
        threads=threads,
        runs=rounds,
        size=size,
        rows=(
            *_rows(whole.times, {CACHED: TEACHER}, len(bench.train)),
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
    values.append(("faster_than_plain", TEACHER, ratios.faster_than_plain))
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


def images_of(data: Path | None, most: int, folder: Path) -> Dataset:
    """At most so many images of a set, in an order drawn once."""
    dataset = open_dataset(data or synthetic(folder / "drawn", per_class=-(-most // 3), size=128))
    if len(dataset) < 2 * BATCH or most < 2 * BATCH:
        raise BenchmarkError(
            f"An epoch of {min(most, len(dataset))} images is too short to time; take {2 * BATCH} or more."
        )
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:most].tolist()
    return replace(dataset, items=tuple(dataset.items[number] for number in order))


@dataclass(slots=True)
class Bench:
    """What all ways share: images, their description, and a folder for caches."""

    train: Arrays
    spec: InputSpec
    classes: int
    folder: Path
    seed: int = 0

    @classmethod
    def of(cls, dataset: Dataset, spec: InputSpec, folder: Path) -> Bench:
        """The images of a set, rendered."""
        pixels = torch.from_numpy(dataset.images(spec, cache=False).copy())
        return cls(Arrays(pixels, torch.from_numpy(dataset.labels)), spec, len(dataset.classes), folder)

    def first(self, many: int) -> Bench:
        """The same with the first images only."""
        return replace(self, train=Arrays(self.train.pixels[:many], self.train.labels[:many]))

    def model(self, name: str) -> Classifier:
        """A network with weights drawn from the seed, its batch norm that of the images: so no map overflows."""
        torch.manual_seed(self.seed)
        model = create_model(name, self.classes)
        reestimate_batch_norm(model, [self.spec.normalise(self.train.pixels[:16])])
        return model.eval().to(memory_format=torch.channels_last)

    def loop(self, teacher: Classifier | None, cache: TeacherCache | None = None, method: str = METHOD) -> Loop:
        """One way to train a new student: taught by `teacher`, from its outputs where they are cached, or alone."""
        distiller = create_distiller(method if teacher else "alone", self.model(STUDENT), teacher)
        views = 0 if teacher is not None and cache is None else 1
        schedule = Schedule(10_000, 1e-4, 0.02, BATCH, 0.0, 0, "32-true", self.seed, views)
        return Loop.of(distiller, self.train, schedule, self.spec, augmentation(POLICY, self.spec.size), cache)

    def whole(self, rounds: int, progress: Progress | None) -> Timed:
        """MobileNetV2's cached outputs against asking it, and no teacher."""
        teacher = self.model(TEACHER)
        cache, filling = self.cache(teacher, TEACHER)
        loops = {ALONE: self.loop(None), CACHED: self.loop(teacher, cache), ASKED: self.loop(teacher)}
        ways = calls(loops) | {PLAIN: partial(plain, self.model(TEACHER), self.model(STUDENT), self.train, self.spec)}
        return Timed(interleave(ways, rounds, 1, progress=progress), {TEACHER: filling})

    def several(self, big: Sequence[str], rounds: int, progress: Progress | None) -> Timed:
        """The cached outputs of the `big` teachers, by name, against no teacher."""
        loops, filling = {ALONE: self.loop(None)}, {}
        for name in big:
            teacher = self.model(name)
            cache, filling[name] = self.cache(teacher, name)
            loops[name] = self.loop(teacher, cache)
        return Timed(interleave(calls(loops), rounds, 1, seed=1, progress=progress), filling)

    def cache(self, teacher: Classifier, name: str) -> tuple[TeacherCache, float]:
        """A teacher's outputs for one view, cached, and the milliseconds per image that this took."""
        augment = augmentation(POLICY, self.spec.size)
        key, arrays = f"{name}-{len(self.train)}", ArrayCache(str(self.folder))
        cache = TeacherCache(teacher, self.train.pixels, self.spec, augment, False, key, arrays)
        draws = augment.draw(len(self.train), torch.Generator().manual_seed(VIEWS_SEED))
        return cache, milliseconds(lambda: cache.view(0, draws)) / len(self.train)


def plain(teacher: Classifier, student: Classifier, train: Arrays, spec: InputSpec) -> None:
    """An epoch as it is written by hand: a batch is made, the teacher asked, the student moved, one after the other.

    Augmentation, method and optimizer are those of the other ways; maps lie as torch lays them out by itself.
    """
    student, teacher = (model.to(memory_format=torch.contiguous_format) for model in (student, teacher))
    distiller = create_distiller(METHOD, student, teacher).train()
    optimizer = torch.optim.AdamW(distiller.parameters(), lr=1e-4)
    augment = augmentation(POLICY, spec.size)
    for index in torch.split(torch.randperm(len(train)), BATCH):
        x = spec.normalise(augment(train.pixels[index].permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        loss = distiller(Batch(x, train.labels[index]))["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def calls(loops: Mapping[str, Loop]) -> dict[str, Way]:
    """One epoch of each loop: the same images in the same order and views with each call."""
    return {name: partial(loop.epoch, 0) for name, loop in loops.items()}
