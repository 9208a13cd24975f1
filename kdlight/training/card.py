"""The card of a run, made from its result: what was trained on what, how it was measured, and where it falls short."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

import kdlight
from kdlight.bundle import Card
from kdlight.bundle.card import (
    ClassDescription,
    Coverage,
    DataDescription,
    Distillation,
    LeftOut,
    Licenses,
    Metrics,
    Network,
)
from kdlight.bundle.fitted import Calibration, Conformal
from kdlight.contracts.modality import modality
from kdlight.contracts.reading import ROLES, Role
from kdlight.contracts.recipe import ClassWords, DataConfig, Recipe
from kdlight.data import Dataset, twins
from kdlight.data.notes import group_key
from kdlight.distillers import find as find_method
from kdlight.distillers import hyperparameters
from kdlight.inference.evaluate import measure
from kdlight.inference.look_alike import looks
from kdlight.inference.robustness import ASKED_AGAIN, Ask, corruption_costs, spread
from kdlight.inference.shortcuts import shortcuts
from kdlight.metrics import softmax
from kdlight.metrics.ledger import ledger
from kdlight.metrics.look_alike import LookAlike
from kdlight.metrics.operating import OperatingPoints, chosen_points, measured_points
from kdlight.metrics.robustness import CorruptionCost
from kdlight.metrics.shortcuts import Shortcuts
from kdlight.metrics.subgroups import subgroups
from kdlight.metrics.triage import Tallies, tallies
from kdlight.metrics.twins import TwinScores, twin_scores
from kdlight.models import Classifier, macs, parameters
from kdlight.preprocessing import InputSpec
from kdlight.training.data import CALIBRATION, Arrays
from kdlight.training.loop import logits_of
from kdlight.training.result import ALPHA, RunResult
from kdlight.trust import sets
from kdlight.trust.columns import subgroups as of_people

INTENDED_USE = (
    "Research and teaching: to see what a small model keeps of a big one. It is not a medical device "
    "and must not guide the care of a patient."
)
TEMPERATURE = "temperature scaling on the validation images that chose the best epoch"
SETS = "split conformal on calibration images, which chose nothing else"


class CardError(ValueError):
    """A set of which no card can be made."""


def card_of(result: RunResult) -> Card:
    """Describe a run's pair. Models that no bundle ships, and baselines, are there by their figures only."""
    recipe, dataset, spec = result.recipe, result.data.dataset, result.data.spec
    data, name, start = recipe.data, recipe.name, result.start
    conformal = Conformal.model_validate({"alpha": ALPHA, "method": SETS, **result.thresholds})
    metrics, method = _metrics(result, conformal), find_method(recipe.distill.method)
    return Card(
        id=name,
        name=_line(data.title) or name,
        version="1.0.0",
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        licenses=Licenses(weights=_line(data.weights_licence), data=data.licence),
        modality=data.modality,
        classes=described(data, dataset.classes),
        input=spec,
        teacher=_describe(recipe.teacher.name, result.models["teacher"], spec, **(start.described() if start else {})),
        student=_describe(recipe.student.name, result.models["student"], spec, start=recipe.student.init),
        distillation=Distillation(
            method=method.name,
            paper=method.paper,
            options={**hyperparameters(method), **recipe.distill.options},
            init=recipe.student.init,
            recipe=recipe.portable.to_toml(),
        ),
        data=_data(recipe, dataset),
        metrics=metrics,
        operating=_operating(result),
        triage=_tallies(result),
        calibration=Calibration.model_validate({"method": TEMPERATURE, **result.temperatures}),
        conformal=conformal,
        eligibility=eligibility(data),
        intended_use=INTENDED_USE,
        limits=(*data.limits, *failure(metrics), shortfall(metrics)),
        versions={p: version(p) for p in ("torch", "torchvision", "onnxruntime", "timm")}
        | {"kdlight": kdlight.__version__, "python": platform.python_version()},
    )


def described(data: DataConfig, classes: Sequence[str]) -> tuple[ClassDescription, ...]:
    """The classes as the card has them. Raises CardError for names that no card may have; asked before any training."""
    told = {c: data.classes.get(c, ClassWords(words=c)) for c in classes}
    names = [words.model_dump(include={"words", "must_not_miss"}) | {"name": c} for c, words in told.items()]
    try:
        if len(names) < 2:
            raise CardError(f"The set has {len(names)} class; two or more were expected. Add images of another one.")
        return tuple(ClassDescription.model_validate(name) for name in names)
    except ValidationError as error:
        odd = error.errors(include_url=False)[0]["input"]
        what = "one line of 1 to 200 printable letters was expected. Rename the class"
        raise CardError(f"{odd!r} cannot be the name of a class; {what}.") from error


def _line(text: str) -> str:
    """A text of a recipe on one line, no longer than a card holds."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _metrics(result: RunResult, conformal: Conformal) -> Metrics:
    """The report on the test split. Flips are counted, not listed: a card names no image."""
    test = result.data.dataset.split("test")
    probabilities = {name: result.probabilities[name] for name in result.models}
    measured = measure(probabilities, test, result.data.classes).model_copy(update={"flips": None})
    failed = tuple(role for role in ROLES if measured.reports[role].beats_chance is False)
    told: dict[str, Any] = {"split": "test", "n": len(test), "at_chance": failed}
    told |= {"twins": _twins(result, test), **_asked_again(result, test)}
    told["coverage"] = sets.covered(conformal, test.classes, probabilities, test.labels, test.groups)
    urgent = [entry.name for entry in described(result.recipe.data, test.classes) if entry.must_not_miss]
    pair = {role: probabilities[role] for role in ROLES}
    asked = (pair, test.labels, test.classes, urgent, test.groups, of_people(test))
    told |= {"ledger": ledger(*asked), "subgroups": subgroups(*asked)}
    return Metrics.model_validate({**measured.to_json(), **told})


def _twins(result: RunResult, test: Dataset) -> TwinScores:
    """Both models on the test images that a training image shows almost as they are, and on the others."""
    train, tested = (result.data.splits[name].pixels.numpy() for name in ("train", "test"))
    seen, share = twins.counts(tested, train) > 0, twins.share_at_random(train, tested)
    return twin_scores({role: result.probabilities[role] for role in ROLES}, test.labels, test.groups, seen, share)


def _asked_again(result: RunResult, test: Dataset) -> dict[str, tuple[CorruptionCost, ...] | Shortcuts | LookAlike]:
    """What noise, blur and the like cost both models, and by what they answer: on ASKED_AGAIN test images at most."""
    rows = spread(test.labels, ASKED_AGAIN)
    pixels = result.data.splits["test"].pixels.numpy()[rows]
    clean = {role: result.probabilities[role][rows] for role in ROLES}
    ask = {role: _asked(result, role) for role in ROLES}
    labels, groups = test.labels[rows], test.groups[rows]
    known = {name: values[rows] for name, values in of_people(test).items()}
    pair = {role: result.models[role] for role in ROLES}
    shown = replace(test, items=tuple(test.items[i] for i in rows))
    return {
        "look_alike": looks(pair, result.data.spec, pixels, clean, shown).model_copy(update={"cases": None}),
        "corruptions": corruption_costs(ask, clean, pixels, labels, groups),
        "shortcuts": shortcuts(ask, clean, pixels, labels, test.classes, groups, known),
    }


def _operating(result: RunResult) -> dict[str, OperatingPoints]:
    """Of each class that must not be missed: thresholds from the calibration images, and what they give on test."""
    if not result.calibration:
        return {}
    held, test = (result.data.dataset.split(name) for name in (CALIBRATION, "test"))
    seen, asked = ({role: of[role] for role in ROLES} for of in (result.calibration, result.probabilities))
    points = {}
    for column, name in enumerate(result.data.classes):
        words = result.recipe.data.classes.get(name)
        if words is not None and words.must_not_miss:
            chosen = chosen_points(words.sensitivity, seen, held.labels, column, held.groups)
            points[name] = measured_points(chosen, asked, test.labels, column, test.groups)
    return points


def _tallies(result: RunResult) -> Tallies | None:
    """What thresholds of triage do to the calibration images; None where there are none."""
    if not result.calibration:
        return None
    held, data = result.data.dataset.split(CALIBRATION), result.recipe.data
    urgent = [entry.must_not_miss for entry in described(data, held.classes)]
    student, teacher = (result.calibration[role] for role in ("student", "teacher"))
    return tallies(student, teacher, held.labels, urgent, held.groups)


def _asked(result: RunResult, role: Role) -> Ask:
    def probabilities(pixels: np.ndarray) -> np.ndarray:
        split = Arrays(torch.from_numpy(pixels), torch.zeros(len(pixels), dtype=torch.long))
        logits = logits_of(result.models[role], split, result.data.spec).numpy()
        return softmax(logits, result.temperatures[role].temperature)

    return probabilities


def eligibility(data: DataConfig) -> Coverage:
    """What a file must be to be read without a person's word for it, as the card has it."""
    kind = modality(data.modality)
    return Coverage(
        modalities=(kind.name,), min_side=32, color=kind.color or None, body_parts=data.body_parts, views=data.views
    )


def _describe(name: str, model: Classifier, spec: InputSpec, **start: Any) -> Network:
    return Network(architecture=name, parameters=parameters(model), macs=macs(model, spec.size), bytes=0, **start)


def _data(recipe: Recipe, dataset: Dataset) -> DataDescription:
    splits, data = {name: dataset.split(name) for name in dataset.splits}, recipe.data
    return DataDescription(
        name=recipe.name,
        source=data.source,
        license=data.licence,
        counts={name: split.counts() for name, split in splits.items()},
        groups={name: len(np.unique(split.groups)) for name, split in splits.items()},
        group_key=group_key(dataset),
        left_out=tuple(LeftOut(reason=row.reason, count=row.count) for row in dataset.left_out),
        split_seed=data.split_seed,
    )


def failure(metrics: Metrics) -> list[str]:
    """A sentence for each model that is no better than chance on the test split."""
    return [
        f"This pair has failed: its {role} is no better than chance on the test images (balanced accuracy "
        f"{metrics.balanced_accuracy(role):.3f}; one and the same answer to every image has "
        f"{metrics.of(role).chance_level:.3f})."
        for role in metrics.at_chance or ()
    ]


def shortfall(metrics: Metrics) -> str:
    """What the student lost on the test split in one training, as a sentence, whatever its sign."""
    teacher, student = (metrics.balanced_accuracy(role) for role in ROLES)
    return f"On {metrics.n} test images {against_teacher(student, teacher)}, from one training."


def against_teacher(student: float, teacher: float) -> str:
    """Two balanced accuracies, 0 to 1, in words."""
    points = 100 * (teacher - student)
    side = "below" if points > 0 else "above"
    return (
        f"the student's balanced accuracy is {abs(points):.1f} points {side} its teacher's "
        f"({student:.3f} against {teacher:.3f})"
    )
