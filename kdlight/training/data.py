"""The labeled set of a run in memory: opened, split by group, rendered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdlight.contracts.recipe import DataConfig
from kdlight.data import DataError, Dataset, carve, open_dataset, synthetic
from kdlight.data.splits import folded, halved, lone_class, parted
from kdlight.preprocessing import InputSpec

CALIBRATION = "calibration"
"""Half of the validation images, which choose nothing: they set what promises something of new images."""


@dataclass(frozen=True, slots=True)
class Arrays:
    """A split in memory: pixels uint8 (N, S, S, 3) as InputSpec.render makes them, labels int64 (N,)."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def repeated(self, count: int) -> Arrays:
        """Its images over and over, `count` in all; itself where it has as many."""
        index = torch.arange(count) % len(self)
        return self if count == len(self) else Arrays(self.pixels[index], self.labels[index])


@dataclass(frozen=True, slots=True)
class RunData:
    """The labeled set of a run: its description, how its images are rendered, and the rendered splits.

    They are train, val, test and, where val has groups enough to be halved, CALIBRATION.
    """

    dataset: Dataset
    spec: InputSpec
    splits: dict[str, Arrays]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.dataset.classes

    @property
    def labeled(self) -> Arrays:
        """The training images whose label is known."""
        train = self.splits["train"]
        known = train.labels >= 0
        return train if bool(known.all()) else Arrays(train.pixels[known], train.labels[known])


def prepare(config: DataConfig, folder: Path) -> RunData:
    """Open the labeled set, carve the splits it lacks by group, halve val, and render every image."""
    dataset = halved(open_set(config, folder), "val", CALIBRATION, config.split_seed)
    spec = InputSpec(size=config.size, window=config.window or None, fit=config.fit, stages=config.stages)
    splits = {}
    for name in ("train", "val", "test", *({CALIBRATION} & set(dataset.splits))):
        part = dataset.split(name)
        labels = part.labels if name != "train" else known_labels(part, config)
        splits[name] = Arrays(torch.from_numpy(part.images(spec).copy()), torch.from_numpy(labels))
    return RunData(dataset, spec, splits)


def known_labels(train: Dataset, config: DataConfig) -> np.ndarray:
    """Labels int64 (N,), -1 where the recipe hides them: whole groups, dealt class by class."""
    if config.labeled == 1:
        return train.labels
    dealt = carve(train, {"unlabeled": 1 - config.labeled}, config.split_seed)
    return np.where([item.split == "train" for item in dealt.items], train.labels, -1)


def open_set(config: DataConfig, folder: Path) -> Dataset:
    """The recipe's set with train, val and test; `synthetic` is made inside `folder`.

    Raises DataError where there is nothing to tell apart, or the recipe describes a class that is not there.
    """
    path = Path(config.path)
    if config.path == "synthetic":
        path = folder / "synthetic"
        if not path.is_dir():
            synthetic(path)
    dataset = parted(open_dataset(path), {"val": config.val, "test": config.test}, config.split_seed)
    if config.folds:
        dataset = folded(dataset, config.folds, config.fold, config.val, config.split_seed)
    if lone := lone_class(dataset):
        raise DataError(f"{dataset.source.name}: {lone[0]}")
    if absent := [name for name in config.classes if name not in dataset.classes]:
        raise DataError(
            f"The recipe describes the class {', '.join(absent)}, which {dataset.source.name} has not; its classes are "
            f"{', '.join(dataset.classes)}. Name it as the set does, or take [data.classes.{absent[0]}] out."
        )
    return dataset
