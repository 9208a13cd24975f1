"""How long a training takes, from a trial of a few batches, and how long it may take, by `--effort`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdlight.contracts.recipe import Effort, Recipe
from kdlight.data import open_dataset
from kdlight.data.splits import parted
from kdlight.distillers import Batch, Distiller, create_distiller, find
from kdlight.models import create_model
from kdlight.training.phases import BASELINES
from kdlight.training.teacher_cache import CACHEABLE

BATCHES = 10
"""Of each trial."""
OVERHEAD = 30.0
"""Seconds for starting, calibrating, measuring and packing; ours."""
VALIDATION = 1.25
"""Times the training steps that an epoch takes, with its validation; ours."""
SYNTHETIC = (114, 3)
"""Training images and classes of the set that is drawn."""
TEACHER_SHARE = 0.4
"""Epochs of the teacher for one of the student; ours, as in the shipped recipes."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What an effort allows; ours."""

    images: int
    """That the student is shown in all: epochs times training images."""
    epochs: tuple[int, int]
    """The fewest and the most, whatever the number of images."""
    views: int
    """Distinct views of each image, where the method can use cached teacher outputs."""
    seconds: float
    """More than this is cut down to the fewest epochs."""


EFFORTS: dict[Effort, Budget] = {
    "quick": Budget(10_000, (4, 20), 5, 10 * 60),
    "standard": Budget(60_000, (10, 60), 15, 2 * 3600),
    "thorough": Budget(240_000, (20, 200), 30, 12 * 3600),
}


@dataclass(frozen=True, slots=True)
class Trial:
    """Seconds of one training step of a recipe's models on this machine, and the images that it trains on."""

    images: int
    teacher: float
    alone: float
    taught: float
    """Of the student with its teacher's forward pass."""

    def seconds(self, recipe: Recipe) -> float:
        """What a run of the recipe takes in all."""
        teacher = recipe.teacher.epochs * math.ceil(self.images / recipe.teacher.batch_size) * self.teacher
        steps = math.ceil(self.images / recipe.train.batch_size)
        baselines = sum(bool(getattr(recipe.train, name)) for name in BASELINES)
        passes = min(recipe.train.views, recipe.train.epochs) if _cached(recipe) else recipe.train.epochs
        students = steps * (recipe.train.epochs * (1 + baselines) * self.alone + passes * (self.taught - self.alone))
        return OVERHEAD + VALIDATION * (teacher + students)

    def words(self, recipe: Recipe) -> str:
        """What a run of the recipe will be, for people, before it starts."""
        views = f"{recipe.train.views} views" if recipe.train.views else "new views in each epoch"
        return (
            f"{recipe.teacher.epochs} epochs of the teacher and {recipe.train.epochs} of each student on {self.images} "
            f"images, {views}; about {max(1, round(self.seconds(recipe) / 60))} min on this machine."
        )

    def fitted(self, recipe: Recipe, effort: Effort) -> Recipe:
        """The recipe with the epochs and views of an effort, for its number of images and the seconds of its steps."""
        budget = EFFORTS[effort]
        fewest, most = budget.epochs
        wanted = min(max(round(budget.images / self.images), fewest), most)
        fits = (_with_epochs(recipe, epochs, budget.views) for epochs in range(wanted, fewest, -1))
        return next((r for r in fits if self.seconds(r) <= budget.seconds), _with_epochs(recipe, fewest, budget.views))


def _with_epochs(recipe: Recipe, epochs: int, views: int) -> Recipe:
    teacher = recipe.teacher.changed(epochs=max(2, round(TEACHER_SHARE * epochs)))
    train = recipe.train.changed(epochs=epochs, views=0)
    fixed = find(recipe.distill.method).needs in CACHEABLE and views < epochs and not train.mixes
    return recipe.changed(teacher=teacher, train=train.changed(views=views) if fixed else train)


def without(recipe: Recipe) -> Recipe:
    """The recipe without what an effort sets, to tell whether two are alike but for that."""
    return _with_epochs(recipe, 2, 0)


def _cached(recipe: Recipe) -> bool:
    """Whether the teacher runs once a view and not once a step."""
    return recipe.train.views > 0 and find(recipe.distill.method).needs in CACHEABLE


def try_out(recipe: Recipe, progress: Callable[[float, str], None] = lambda *_: None) -> Trial:
    """Time a few steps of each model on pixels drawn at random. progress: called with the share done, and words."""
    images, classes = SYNTHETIC
    if recipe.data.path != "synthetic":
        parts = {"val": recipe.data.val, "test": recipe.data.test}
        dataset = parted(open_dataset(Path(recipe.data.path)), parts, recipe.data.split_seed)
        images, classes = len(dataset.split("train")), len(dataset.classes)
    teacher, student = create_model(recipe.teacher.name, classes), create_model(recipe.student.name, classes)
    progress(0.2, f"Trying {BATCHES} batches of the teacher")
    teaching = _step(create_distiller("alone", teacher, None), recipe.data.size, recipe.teacher.batch_size)
    progress(0.6, f"Trying {BATCHES} batches of the student")
    alone = _step(create_distiller("alone", student, None), recipe.data.size, recipe.train.batch_size)
    method = create_distiller(recipe.distill.method, student, teacher, **recipe.distill.options)
    taught = _step(method, recipe.data.size, recipe.train.batch_size)
    return Trial(images, teaching, alone, max(alone, taught))


def _step(distiller: Distiller, side: int, batch_size: int) -> float:
    """Median seconds of a training step."""
    optimizer: Any = torch.optim.SGD(distiller.student.parameters(), lr=0.0)
    distiller.train()
    seconds = []
    for _ in range(BATCHES):
        began = time.perf_counter()
        labels = torch.randint(distiller.student.num_classes, (batch_size,))
        distiller(Batch(torch.randn(batch_size, 3, side, side), labels))["total"].backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))
