"""A recipe becomes a bundle: teacher, the student alone, the student taught, all calibrated and measured.

Each stage leaves its result in the run's folder, so a run that was stopped goes on from its last epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from kdlight import assembly
from kdlight.bundle import Bundle
from kdlight.config import DataConfig, Recipe
from kdlight.data import DataError, Dataset, carve, class_weights, match_classes, open_dataset, synthetic
from kdlight.data.dataset import Progress
from kdlight.data.masks import masks_in
from kdlight.data.splits import lone_class, parted
from kdlight.evaluation import measure, predict
from kdlight.explain import DEFAULT
from kdlight.inference import Predictor
from kdlight.inference.localization import localize
from kdlight.modality import modality
from kdlight.preprocessing import InputSpec
from kdlight.preprocessing.augment import AUGMENTATIONS, augmentation
from kdlight.reading import ROLES, Role
from kdlight.runs import Run
from kdlight.stages import BASELINES, PARTNER, Prepared, Stages
from kdlight.training import Arrays

PREDICTIONS = "predictions.safetensors"
"""In a run's folder: calibrated test probabilities (N, K) per model, labels (N,) and groups (N,) as numbers."""


def train(recipe: Recipe, run: Run) -> Iterator[dict[str, Any]]:
    """Run a recipe to its end; yields each epoch's record, which is in the run's log before it is yielded.

    What the run's folder already holds is not done again. Raises ValueError subclasses for the caller's mistakes.
    """
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    torch.set_flush_denormal(True)
    run.update(stage="data", epoch=0, epochs=0)
    modality(recipe.data.modality)
    augment = augmentation(recipe.data.augmentation or recipe.data.modality, recipe.data.size)
    data = prepare(recipe.data, run.path)
    labels = data.labeled.labels.numpy()
    weights = torch.from_numpy(class_weights(labels, recipe.train.balance, len(data.classes))).float()
    stages = Stages(recipe, run, data, weights, augment)
    yield from stages.teacher()
    baselines = [name for name in BASELINES if getattr(recipe.train, name)]
    for stage in (*baselines, "student"):
        yield from stages.student(stage)
    run.update(stage="calibrate")
    models = {name: stages.finished(name) for name in ("teacher", "student", *baselines)}
    measured = assembly.calibrate(models, data.splits, data.spec)
    beside = {PARTNER: stages.finished(PARTNER)} if stages.has(PARTNER) else {}
    unshipped = assembly.calibrate(beside, data.splits, data.spec)
    _keep(run, {**measured.test, **unshipped.test}, data.dataset.split("test"))
    run.update(stage="bundle")
    made = assembly.assemble(run.bundle, recipe, data.dataset, data.spec, models, measured, stages.start())
    run.update(at_chance=list(made.card.at_chance))


def _keep(run: Run, answers: Mapping[str, np.ndarray], test: Dataset) -> None:
    """Leave the test answers in the run, for a study to pair them with other seeds: PREDICTIONS."""
    beside = run.path / f"{PREDICTIONS}.part"
    tensors = {name: torch.from_numpy(values.copy()) for name, values in answers.items()}
    groups = {item: number for number, item in enumerate(dict.fromkeys(test.groups.tolist()))}
    tensors["labels"] = torch.from_numpy(test.labels)
    tensors["groups"] = torch.tensor([groups[item] for item in test.groups.tolist()])
    save_file(tensors, beside)
    beside.replace(run.path / PREDICTIONS)


def prepare(config: DataConfig, folder: Path) -> Prepared:
    """Open the labelled set, carve the splits it lacks by group, and render every image."""
    dataset = open_set(config, folder)
    spec = InputSpec(size=config.size, window=config.window or None, fit=config.fit, stages=config.stages)
    splits = {}
    for name in ("train", "val", "test"):
        part = dataset.split(name)
        labels = part.labels if name != "train" else known_labels(part, config)
        splits[name] = Arrays(torch.from_numpy(part.images(spec).copy()), torch.from_numpy(labels))
    return Prepared(dataset, spec, splits)


def known_labels(train: Dataset, config: DataConfig) -> np.ndarray:
    """Labels int64 (N,), -1 where the recipe hides them: whole groups, dealt class by class."""
    if config.labeled == 1:
        return train.labels
    dealt = carve(train, {"unlabeled": 1 - config.labeled}, config.split_seed)
    return np.where([item.split == "train" for item in dealt.items], train.labels, -1)


def open_set(config: DataConfig, folder: Path) -> Dataset:
    """The recipe's set with train, val and test; `synthetic` is made inside `folder`."""
    path = Path(config.path)
    if config.path == "synthetic":
        path = folder / "synthetic"
        if not path.is_dir():
            synthetic(path)
    dataset = parted(open_dataset(path), {"val": config.val, "test": config.test}, config.split_seed)
    _require_classes(dataset, config)
    return dataset


def _require_classes(dataset: Dataset, config: DataConfig) -> None:
    """Raise DataError where there is nothing to tell apart, or the recipe has words for a class that is not there."""
    lone = lone_class(dataset)
    if lone:
        raise DataError(f"{dataset.source.name}: {lone[0]}")
    absent = [name for name in config.classes if name not in dataset.classes]
    if absent:
        raise DataError(
            f"The recipe describes the class {', '.join(absent)}, which {dataset.source.name} has not; its classes are "
            f"{', '.join(dataset.classes)}. Name it as the set does, or take [data.classes.{absent[0]}] out."
        )


def evaluate(
    bundle: Bundle,
    data: str | Path | Dataset,
    split: str = "test",
    progress: Progress | None = None,
    mirrored: bool = False,
    masks: str | Path | None = None,
    explain: str = DEFAULT,
) -> dict[str, Any]:
    """Both models of a bundle, as shipped, on one split of a labelled set: the answer of `kdlight evaluate`.

    Classes are matched by name. mirrored: test-time augmentation, the mean of the logits of each picture and of its
    mirror image; refused where the bundle's modality is never mirrored in training. masks: a folder of outlines with
    the names of the images, for a set that holds none beside them; where there are any, `localization` says how well
    the heat maps of the method `explain` cover them. Raises DataError where the set does not fit the bundle or an image
    or mask cannot be read.
    """
    opened = data if isinstance(data, Dataset) else open_dataset(data, bundle.classes)
    if masks is not None:
        opened = replace(opened, masks=masks_in(masks, opened))
    part = match_classes(opened.split(split), bundle.classes)
    if mirrored and not AUGMENTATIONS[bundle.card.modality].mirror:
        raise DataError(f"{bundle.card.modality} is never mirrored: its sides mean something. Leave mirrored out.")
    pixels = part.images(bundle.spec)
    predictor = Predictor(bundle)
    predictions = {}
    for number, role in enumerate(ROLES):
        engine = partial(_both_ways if mirrored else _logits, predictor, role)
        temperature = bundle.card.calibration[role]["temperature"]
        predictions[role] = predict(engine, pixels, temperature, progress=_share(progress, number))
    found = measure(predictions, part, bundle.classes).to_json()
    answers = {role: predictions[role].probabilities.argmax(1).tolist() for role in ROLES}
    found["localization"] = localize(predictor, part, answers, explain, progress)
    described = {"bundle": bundle.card.id, "data": opened.source.name, "split": split, "mirrored": mirrored}
    return {**described, "n": len(part), **found}


def _logits(predictor: Predictor, role: Role, pixels: np.ndarray) -> np.ndarray:
    """Rendered pixels uint8 (B, S, S, 3) to logits (B, K), on the engine that ships."""
    return predictor.logits(role, predictor.spec.normalise(torch.from_numpy(pixels)))


def _both_ways(predictor: Predictor, role: Role, pixels: np.ndarray) -> np.ndarray:
    """The mean of the logits of pictures and of their mirror images."""
    mirror = np.ascontiguousarray(pixels[:, :, ::-1])
    mean: np.ndarray = (_logits(predictor, role, pixels) + _logits(predictor, role, mirror)) / 2
    return mean


def _share(progress: Progress | None, number: int) -> Progress | None:
    """One model's part of the progress over both."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, len(ROLES) * total)
