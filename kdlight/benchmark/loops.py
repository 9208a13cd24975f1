"""The ways to train that are timed: with cached teacher outputs, asking the teacher every batch, alone, and by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kdlight.benchmark.timer import Way, interleave, milliseconds
from kdlight.data import Dataset, open_dataset, synthetic
from kdlight.data.dataset import Progress
from kdlight.distillers import Batch, create_distiller
from kdlight.models import Classifier, create_model
from kdlight.models.weight_selection import reestimate_batch_norm
from kdlight.preprocessing import InputSpec
from kdlight.preprocessing.augment import augmentation
from kdlight.storage import ArrayCache
from kdlight.training import Arrays
from kdlight.training.loop import VIEWS_SEED, Loop, Schedule
from kdlight.training.teacher_cache import TeacherCache

STUDENT, TEACHER = "kdlight_nano", "mobilenetv2"
METHOD = "feature"
"""Of kdlight's own recipes: it needs logits and pooled features."""
POLICY = "dermatoscopy"
"""The augmentation that does most: any way up, color and tint."""
BATCH = 32
ALONE, CACHED, ASKED = "no teacher", "teacher outputs cached", "teacher asked every batch"
MEMORY = "teacher outputs cached, images in memory"
PLAIN = "plain loop, teacher asked every batch"

Times = dict[str, list[float]]


class BenchmarkError(ValueError):
    """What was asked for cannot be timed; the message says why."""


class Timed(NamedTuple):
    """Milliseconds of the epochs of each way, and of filling each teacher's cache per image and view."""

    times: Times
    filling: dict[str, float]


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
        """MobileNetV2's cached outputs against asking it, no teacher, and images that wait in memory."""
        teacher = self.model(TEACHER)
        cache, filling = self.cache(teacher, TEACHER)
        cached = self.loop(teacher, cache)
        loops = {ALONE: self.loop(None), CACHED: cached, ASKED: self.loop(teacher), MEMORY: InMemory.like(cached)}
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
