"""How long an epoch of distillation takes: with kept answers, asking the teacher every batch, and without a teacher.

Every way runs whole epochs of the loop that trains, augmentation on, in turns; a ratio is the median over rounds of two
epochs of one round.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdlight.bounds import training_bound
from kdlight.data import Dataset, open_dataset, synthetic
from kdlight.distillers import Batch, View, create_distiller
from kdlight.inference.timing import machine
from kdlight.models import MODELS, Classifier, create_model
from kdlight.models.weight_selection import reestimate_batch_norm
from kdlight.preprocessing import InputSpec
from kdlight.preprocessing.augment import augmentation
from kdlight.stopwatch import Progress, race, ratio, row
from kdlight.storage import ArrayCache
from kdlight.training import Arrays
from kdlight.training.batches import keep_freed_memory
from kdlight.training.loop import VIEWS_SEED, Loop, Schedule
from kdlight.training.teacher_cache import TeacherCache

STUDENT, TEACHER = "kdlight_nano", "mobilenetv2"
BIG = ("vgg19", "fusion_skin")
FEW = 64
"""Images for teachers that take a third of a second for one."""
METHOD = "feature"
"""Of kdlight's own recipes: it reads logits and pooled features."""
POLICY = "dermatoscopy"
"""The augmentation that does most: any way up, color and tint."""
BATCH = 32
VIEWS = 15
"""Of kdlight's own recipes: what filling is reckoned for."""
ALONE, KEPT, ASKED, MEMORY = "no teacher", "answers kept", "teacher asked every batch", "answers kept, images in memory"
PLAIN = "plain loop, teacher asked every batch"
BFLOAT16, ASKED_BFLOAT16 = "answers kept, student in bfloat16", "teacher asked every batch, in bfloat16"
FIRST = "answers kept, channels first"
TARGETS = {"over_alone": 1.15, "faster_than_plain": 2.5, "rate_of_memory": 0.95}
"""Of an epoch with kept answers: times an epoch without a teacher, at most; times as fast as a plain loop, at least;
share of the rate on images that nothing is done to, at least."""

Times = dict[str, list[float]]
Cost = tuple[int, float]
"""Images, and the seconds that a view of them took."""
Costs = dict[str, Cost]


class BenchmarkError(ValueError):
    """What was asked for cannot be timed; the message says why."""


def epochs(
    data: Path | None = None,
    images: int = 512,
    size: int = 128,
    rounds: int = 5,
    threads: int = 1,
    big: Sequence[str] = BIG,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Times of an epoch, p50 and p95 of `rounds`: of at most `images` of `size` px, for the `big` teachers of FEW.

    data: a labelled set; without one, drawn shapes. Weights are random, denormals flushed. `ratio` is how many times
    as fast an epoch with kept answers is as a plain loop that asks MobileNetV2 every batch; `ratios` has all, `targets`
    what each should reach; `filling` what answers cost once, and after how many epochs they have paid; `bound` what
    arithmetic and memory alone would take. progress(done, total): rounds.
    Raises BenchmarkError for less than two batches of images, DataError where `data` cannot be read.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    try:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench.of(images_of(data, images, Path(folder)), InputSpec(size), Path(folder))
            found = _measure(bench, rounds, big, progress)
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)
    settings = {"threads": threads, "runs": rounds, "warmups": 1, "size": size, "batch": BATCH}
    return {"benchmark": "training", "machine": machine(), **settings, **found}


def images_of(data: Path | None, most: int, folder: Path) -> Dataset:
    """At most so many images of a set, in an order drawn once."""
    dataset = open_dataset(data or synthetic(folder / "drawn", per_class=-(-most // 3), size=128))
    if len(dataset) < 2 * BATCH or most < 2 * BATCH:
        raise BenchmarkError(
            f"An epoch of {min(most, len(dataset))} images is too short to time; take {2 * BATCH} or more."
        )
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:most].tolist()
    return replace(dataset, items=tuple(dataset.items[number] for number in order))


@dataclass(frozen=True, slots=True)
class InMemory(Loop):
    """The same loop on images that wait as the student takes them: no view is made of them, nothing is copied."""

    ready: Tensor | None = None

    @classmethod
    def like(cls, loop: Loop) -> InMemory:
        """A loop's twin with one batch in memory, handed out again and again."""
        first = torch.arange(BATCH + 1)  # a last batch of one joins its neighbor
        ready = loop.see(first, loop.augment.draw(len(loop.train)))
        return cls(**{field.name: getattr(loop, field.name) for field in fields(loop)}, ready=ready)

    def see(self, index: Tensor, draws: Any) -> Tensor:
        assert self.ready is not None
        return self.ready[: len(index)]


class ChannelsFirst(Loop):
    """The same loop with weights and maps in the order that torch gives them by itself."""

    def batch(self, index: Tensor, x: Tensor, taught: View | None, epoch: int) -> Batch:
        self.distiller.to(memory_format=torch.contiguous_format)  # copies in the first batch only
        found = Loop.batch(self, index, x, taught, epoch)
        return replace(found, x=found.x.contiguous())


@dataclass(slots=True)
class Bench:
    """What all ways share: images, their description, and a folder for answers."""

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

    def loop(
        self,
        teacher: Classifier | None,
        answers: TeacherCache | None = None,
        kind: type[Loop] = Loop,
        precision: str = "32-true",
        teacher_bfloat16: bool = False,
        method: str = METHOD,
    ) -> Loop:
        """One way to train a new student: taught by `teacher`, from its `answers` where they are given, or alone."""
        distiller = create_distiller(method if teacher else "alone", self.model(STUDENT), teacher)
        distiller.teacher_bfloat16 = teacher_bfloat16
        views = 0 if teacher is not None and answers is None else 1
        schedule = Schedule(10_000, 1e-4, 0.02, BATCH, 0.0, 0, precision, self.seed, views)
        augment = augmentation(POLICY, self.spec.size)
        return kind.of(distiller, self.train, schedule, self.spec, augment, answers)

    def whole(self, rounds: int, progress: Progress | None) -> tuple[Times, Costs]:
        """MobileNetV2's answers against asking it, against no teacher, and against images that wait in memory."""
        teacher = self.model(TEACHER)
        answers, cost = self.answers(teacher, TEACHER)
        kept = self.loop(teacher, answers)
        ways = {ALONE: self.loop(None), KEPT: kept, ASKED: self.loop(teacher), MEMORY: InMemory.like(kept)}
        epochs = calls(ways) | {PLAIN: partial(plain, self.model(TEACHER), self.model(STUDENT), self.train, self.spec)}
        return race(epochs, rounds, 1, progress=progress), {TEACHER: cost}

    def several(self, big: Sequence[str], rounds: int, progress: Progress | None) -> tuple[Times, Costs]:
        """The answers of the `big` teachers against no teacher, by name; and MobileNetV2's in other number formats."""
        ways, costs = {ALONE: self.loop(None)}, {}
        for name in big:
            teacher = self.model(name)
            answers, costs[name] = self.answers(teacher, name)
            ways[name] = self.loop(teacher, answers)
        teacher = self.model(TEACHER)
        answers, _ = self.answers(teacher, TEACHER)
        ways |= {KEPT: self.loop(teacher, answers), ASKED: self.loop(teacher)}
        ways[BFLOAT16] = self.loop(teacher, answers, precision="bf16-mixed")
        ways[FIRST] = self.loop(teacher, answers, ChannelsFirst)
        ways[ASKED_BFLOAT16] = self.loop(teacher, teacher_bfloat16=True)
        return race(calls(ways), rounds, 1, seed=1, progress=progress), costs

    def answers(self, teacher: Classifier, name: str) -> tuple[TeacherCache, Cost]:
        """A teacher's answers to one view, kept, and what asking and keeping them took."""
        augment = augmentation(POLICY, self.spec.size)
        key, cache = f"{name}-{len(self.train)}", ArrayCache(str(self.folder))
        found = TeacherCache(teacher, self.train.pixels, self.spec, augment, False, key, cache)
        draws = augment.draw(len(self.train), torch.Generator().manual_seed(VIEWS_SEED))
        started = time.perf_counter()
        found.view(0, draws)
        return found, (len(self.train), time.perf_counter() - started)


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


def calls(ways: Mapping[str, Loop]) -> dict[str, Callable[[], Any]]:
    """One epoch of each way: the same images in the same order and views with each call."""
    return {name: partial(loop.epoch, 0) for name, loop in ways.items()}


def _measure(bench: Bench, rounds: int, big: Sequence[str], progress: Progress | None) -> dict[str, Any]:
    """Both races, on all images and on few of them, and what they say together."""
    times, costs = bench.whole(rounds, _half(progress, 0, rounds + 1))
    small = bench.first(FEW)
    fewer, more = small.several(big, rounds, _half(progress, rounds + 1, rounds + 1))
    ratios = {
        "over_alone": {TEACHER: ratio(times, KEPT, ALONE)} | {name: ratio(fewer, name, ALONE) for name in big},
        "faster_than_plain": ratio(times, PLAIN, KEPT),
        "faster_than_asking": ratio(times, ASKED, KEPT),
        "rate_of_memory": ratio(times, MEMORY, KEPT),
        "slower_in_bfloat16": ratio(fewer, BFLOAT16, KEPT),
        "slower_channels_first": ratio(fewer, FIRST, KEPT),
        "asking_in_bfloat16_over_float32": ratio(fewer, ASKED_BFLOAT16, ASKED),
    }
    return {
        "student": STUDENT,
        "method": METHOD,
        "augmentation": POLICY,
        "rows": [row(name, taken) | {"images": len(bench.train)} for name, taken in times.items()]
        + [_of_few(name, taken, len(small.train)) for name, taken in fewer.items()],
        "candidate": KEPT,
        "baseline": PLAIN,
        "ratio": ratios["faster_than_plain"],
        "ratios": ratios,
        "targets": _targets(ratios),
        "filling": _filling(costs | more, times),
        "bound": training_bound(bench.model(STUDENT), bench.model(TEACHER), len(bench.train), bench.spec.size),
    }


def _half(progress: Progress | None, done: int, rounds: int) -> Progress | None:
    """One of two races as a part of the whole."""
    return None if progress is None else lambda now, _: progress(done + now, 2 * rounds)


def _of_few(name: str, taken: list[float], images: int) -> dict[str, Any]:
    """A row of the second race."""
    words = f"answers of {name} kept" if name in MODELS else name
    return row(f"{words}, {images} images", taken) | {"images": images}


def _targets(ratios: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each target with what was measured: [{"name", "value", "target", "reached"}]."""
    over = [("over_alone", teacher, value) for teacher, value in ratios["over_alone"].items()]
    single = [(name, TEACHER, ratios[name]) for name in ("faster_than_plain", "rate_of_memory")]
    return [
        {
            "name": f"{name} {teacher}",
            "value": value,
            "target": TARGETS[name],
            "reached": value <= TARGETS[name] if name == "over_alone" else value >= TARGETS[name],
        }
        for name, teacher, value in over + single
    ]


def _filling(costs: Mapping[str, tuple[int, float]], times: Mapping[str, list[float]]) -> dict[str, Any]:
    """What answers cost once: ms an image and view of each teacher, and when those of MobileNetV2 have paid.

    paid_after_epochs: of a run with VIEWS views, the first on this set; a second seed or method finds them filled.
    """
    saved = float(np.median(np.subtract(times[ASKED], times[KEPT]))) / 1000
    paid = VIEWS * costs[TEACHER][1] / saved if saved > 0 else None
    each = {name: 1000 * seconds / images for name, (images, seconds) in costs.items()}
    return {"ms_per_image_and_view": each, "views": VIEWS, "paid_after_epochs": paid}
