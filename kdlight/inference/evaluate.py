"""Both models of a bundle on a labeled split: predicted once, measured by every metric."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, InstanceOf

from kdlight.bundle import Bundle
from kdlight.bundle.looks import KindWithheld
from kdlight.contracts.reading import ROLES, Role
from kdlight.data import DataError, Dataset, match_classes, open_dataset
from kdlight.data.masks import masks_in
from kdlight.explain import DEFAULT
from kdlight.inference.localization import localize
from kdlight.inference.predictor import Predictor
from kdlight.inference.robustness import Ask, corruption_costs
from kdlight.metrics import Flip, Measurement, agreement, flips, report, softmax
from kdlight.metrics.drift import Drift
from kdlight.metrics.ledger import Ledger
from kdlight.metrics.localization import Localization
from kdlight.metrics.look_alike import LookAlike
from kdlight.metrics.operating import OperatingPoints, measured_points
from kdlight.metrics.predictive import Facts
from kdlight.metrics.report import IF_KNOWN
from kdlight.metrics.robustness import CorruptionCost
from kdlight.metrics.shortcuts import Shortcuts
from kdlight.metrics.subgroups import Subgroups
from kdlight.metrics.triage import Triage
from kdlight.preprocessing.augment import AUGMENTATIONS
from kdlight.trust.sets import Coverages

Progress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and words for it."""
RoleLogits = Callable[[Predictor, Role, np.ndarray], np.ndarray]
"""Of one model, for rendered pixels."""
Predict = Callable[[np.ndarray], np.ndarray]
"""Rendered pixels uint8 (B, S, S, 3) to logits (B, K)."""


class Evaluation(Measurement):
    """Both models on one split."""

    bundle: str
    data: str
    split: str
    mirrored: bool
    n: int
    localization: Localization | None = None
    """The heat maps against outlines; None where nothing is outlined."""
    corruptions: Annotated[tuple[CorruptionCost, ...] | None, IF_KNOWN] = None
    """What noise, blur and the like cost each model; None where nobody asked."""
    eligibility: Annotated[tuple[KindWithheld, ...] | None, IF_KNOWN] = None
    """How many images were withheld of the set's own, and of each kind that does not belong; None if nobody asked."""
    operating: Annotated[dict[str, OperatingPoints] | None, IF_KNOWN] = None
    """What the card's thresholds give here, by class that must not be missed; None where the card has none."""
    ledger: Annotated[Ledger | None, IF_KNOWN] = None
    """What the student and its smaller files lost and gained; None where nobody asked (kdlight.inference.measures)."""
    coverage: Annotated[Coverages | None, IF_KNOWN] = None
    """How often the prediction sets hold the truth; None where nobody asked."""
    look_alike: Annotated[LookAlike | None, IF_KNOWN] = None
    """Whether both look at the same places, on 300 images at most; None where nobody asked."""
    drift: Annotated[Drift | None, IF_KNOWN] = None
    """Whether these images are distributed as those of the training's set; None where the bundle does not know."""
    shortcuts: Annotated[Shortcuts | None, IF_KNOWN] = None
    """What rim, corners and markers do, on 300 images at most; None where nobody asked."""
    triage: Annotated[Triage | None, IF_KNOWN] = None
    """Who would answer, and how wrongly; None where nobody asked."""
    subgroups: Annotated[Subgroups | None, IF_KNOWN] = None
    """By sex, age, scanner, source and skin tone; None where the manifest has none of them."""
    facts: Annotated[dict[Role, dict[str, Facts]] | None, IF_KNOWN] = None
    """Predictive values by class at the prevalence that a person stated; None where nobody did."""
    part: InstanceOf[Dataset] = Field(exclude=True, repr=False)
    """The images that were measured."""
    pixels: InstanceOf[np.ndarray] = Field(exclude=True, repr=False)
    """The same as the models see them: uint8 (N, S, S, 3)."""
    probabilities: dict[Role, InstanceOf[np.ndarray]] = Field(exclude=True, repr=False)
    """Calibrated (N, K), in the order of `part`."""


def predict(
    model: Predict,
    pixels: np.ndarray,
    temperature: float,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Calibrated probabilities (N, K) of rendered pixels uint8 (N, S, S, 3). Raises ValueError for infinite logits."""
    logits = []
    for start in range(0, len(pixels), batch_size):
        logits.append(model(pixels[start : start + batch_size]))
        if progress:
            progress(min(start + batch_size, len(pixels)), len(pixels))
    return softmax(np.concatenate(logits), temperature)


def measure(
    probabilities: Mapping[Any, np.ndarray],
    dataset: Dataset,
    classes: Sequence[str],
    seconds: Mapping[Any, float] | None = None,
) -> Measurement:
    """The report of each model, and where teacher and student part: agreement and every flip.

    probabilities: (N, K) by role, rows in the order of `dataset.items`; labels must be numbered as `classes`. seconds:
    that each model took for all images.
    """
    labels, groups = dataset.labels, dataset.groups
    scores: dict[str, Any] = {
        role: report(p, labels, classes, groups).model_copy(update={"seconds": (seconds or {}).get(role)})
        for role, p in probabilities.items()
    }
    if {"teacher", "student"} <= set(probabilities):
        teacher, student = probabilities["teacher"], probabilities["student"]
        differing = np.flatnonzero(teacher.argmax(axis=1) != student.argmax(axis=1))
        scores["agreement"] = agreement(teacher, student, groups=groups)
        scores["flips"] = tuple(_flip(dataset, classes, teacher, student, int(i)) for i in differing)
        scores["flip_counts"] = flips(teacher, student, labels)
    return Measurement(**scores)


def _flip(dataset: Dataset, classes: Sequence[str], teacher: np.ndarray, student: np.ndarray, i: int) -> Flip:
    item = dataset.items[i]
    return Flip(
        path=item.ref,
        truth=classes[item.label],
        teacher=classes[int(teacher[i].argmax())],
        teacher_probability=float(teacher[i].max()),
        student=classes[int(student[i].argmax())],
        student_probability=float(student[i].max()),
    )


def evaluate(
    bundle: Bundle,
    data: str | Path | Dataset,
    split: str | None = "test",
    progress: Progress = lambda *_: None,
    mirrored: bool = False,
    masks: str | Path | None = None,
    explain: str = DEFAULT,
    corruptions: bool = False,
) -> Evaluation:
    """Both models of a bundle, as shipped, on one split of a labeled set: what `kdlight evaluate` prints.

    Classes are matched by name. split: None takes the test part where there is one, else val, else what there is.
    mirrored: the mean of the logits of each picture and of its mirror image; refused where sides mean something.
    masks: a folder of outlines with the names of the images, for a set that holds none beside them. explain: the method
    of the maps that are held against outlines. corruptions: ask both models again under each of CORRUPTIONS at three
    severities, fifteen times the work. Raises DataError where the set does not fit, or a file cannot be read.
    """
    name, part = opened(bundle, data, split, masks)
    logits = _logits_of(bundle, mirrored)
    end = 0.1 if corruptions else 1.0  # the share of all work that is done before the corruptions
    pixels = part.images(bundle.spec, _share(progress, 0.0, 0.3 * end, "Reading image"))
    predictor = Predictor(bundle)
    probabilities, seconds = _both(predictor, pixels, logits, progress, end)
    predicted = {role: p.argmax(1).tolist() for role, p in probabilities.items()}
    maps = localize(predictor, part, predicted, explain, _share(progress, 0.9 * end, 0.1 * end, "Heat maps of image"))
    return Evaluation(
        **dict(measure(probabilities, part, bundle.classes, seconds)),
        bundle=bundle.card.id,
        data=part.source.name,
        split=name,
        mirrored=mirrored,
        n=len(part),
        localization=maps,
        corruptions=_corrupted(predictor, part, pixels, probabilities, progress) if corruptions else None,
        operating=_operating(bundle, part, probabilities),
        part=part,
        pixels=pixels,
        probabilities=probabilities,
    )


def _both(
    predictor: Predictor, pixels: np.ndarray, logits: RoleLogits, progress: Progress, end: float
) -> tuple[dict[Role, np.ndarray], dict[Role, float]]:
    """Calibrated probabilities (N, K) and seconds of each model, told as 0.3 to 0.9 of what comes by `end`."""
    probabilities: dict[Role, np.ndarray] = {}
    seconds: dict[Role, float] = {}
    for start, role in zip((0.3, 0.6), ROLES, strict=True):
        shown, began = _share(progress, start * end, 0.3 * end, f"The {role} reads image"), time.perf_counter()
        temperature = predictor.bundle.card.temperature(role)
        probabilities[role] = predict(partial(logits, predictor, role), pixels, temperature, progress=shown)
        seconds[role] = round(time.perf_counter() - began, 4)
    return probabilities, seconds


def _operating(
    bundle: Bundle, part: Dataset, probabilities: Mapping[Role, np.ndarray]
) -> dict[str, OperatingPoints] | None:
    """The card's thresholds on these images."""
    known, column = bundle.card.operating, bundle.classes.index
    return known and {
        name: measured_points(points, probabilities, part.labels, column(name), part.groups)
        for name, points in known.items()
    }


def _corrupted(
    predictor: Predictor, part: Dataset, pixels: np.ndarray, clean: Mapping[Role, np.ndarray], progress: Progress
) -> tuple[CorruptionCost, ...]:
    def told(share: float, words: str) -> None:
        progress(0.1 + 0.9 * share, words)

    return corruption_costs(asking(predictor), clean, pixels, part.labels, part.groups, told)


def asking(predictor: Predictor) -> dict[Role, Ask]:
    """Both models as they ship, to be asked again about changed pixels."""

    def asked(role: Role) -> Ask:
        temperature = predictor.bundle.card.temperature(role)
        return lambda seen: predict(partial(_logits, predictor, role), seen, temperature)

    return {role: asked(role) for role in ROLES}


def opened(
    bundle: Bundle, data: str | Path | Dataset, split: str | None, masks: str | Path | None = None
) -> tuple[str, Dataset]:
    """The name of a split and its images, numbered as the bundle's classes."""
    dataset = data if isinstance(data, Dataset) else open_dataset(data, bundle.classes)
    if masks is not None:
        dataset = replace(dataset, masks=masks_in(masks, dataset))
    name = split or next(s for s in ("test", "val", "all", *dataset.splits) if s in dataset.splits)
    return name, match_classes(dataset.split(name), bundle.classes)


def _logits_of(bundle: Bundle, mirrored: bool) -> RoleLogits:
    """How a model is asked. Raises DataError where pictures are to be mirrored whose sides mean something."""
    if mirrored and not AUGMENTATIONS[bundle.card.modality].mirror:
        raise DataError(f"{bundle.card.modality} is never mirrored: its sides mean something. Leave mirrored out.")
    return _logits_both_ways if mirrored else _logits


def _logits(predictor: Predictor, role: Role, pixels: np.ndarray) -> np.ndarray:
    """Rendered pixels uint8 (B, S, S, 3) to logits (B, K), on the engine that ships."""
    import torch

    return predictor.logits(role, predictor.spec.normalise(torch.from_numpy(pixels)))


def _logits_both_ways(predictor: Predictor, role: Role, pixels: np.ndarray) -> np.ndarray:
    """The mean of the logits of pictures and of their mirror images."""
    mirror = np.ascontiguousarray(pixels[:, :, ::-1])
    mean: np.ndarray = (_logits(predictor, role, pixels) + _logits(predictor, role, mirror)) / 2
    return mean


def _share(progress: Progress, start: float, share: float, words: str) -> Callable[[int, int], None]:
    """A part of the whole progress, told image by image."""
    return lambda done, total: progress(start + share * done / total, f"{words} {done} of {total}")
