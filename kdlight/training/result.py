"""From trained models to a bundle: calibrated on validation, measured on test, described, sealed."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import kdlight
from kdlight import bundle as bundles
from kdlight.bundle import Bundle, Card
from kdlight.bundle.card import (
    Calibration,
    ClassDescription,
    Conformal,
    Coverage,
    DataDescription,
    Distillation,
    LeftOut,
    Licenses,
    Metrics,
    Network,
    Temperature,
    Threshold,
)
from kdlight.compress import export_onnx
from kdlight.config import ClassWords, DataConfig, Recipe
from kdlight.data import Dataset
from kdlight.data.notes import group_key
from kdlight.distillers import find as find_method
from kdlight.distillers import hyperparameters
from kdlight.inference import golden
from kdlight.inference.evaluate import Predictions, measure
from kdlight.metrics import conformal_qhat, fit_temperature, softmax
from kdlight.modality import modality
from kdlight.models import Classifier, macs, parameters
from kdlight.preprocessing import InputSpec
from kdlight.reading import ROLES
from kdlight.runs import Run
from kdlight.runs.origin import Origin
from kdlight.storage import replacing, replacing_folder
from kdlight.training.data import Arrays
from kdlight.training.loop import logits_of

PREDICTIONS = "predictions.safetensors"
"""In a run's folder: calibrated test probabilities (N, K) per model, labels (N,) and groups (N,) as numbers."""
ALPHA = 0.1
"""Share of prediction sets that may miss the truth."""
INTENDED_USE = (
    "Research and teaching: to see what a small model keeps of a big one. It is not a medical device "
    "and must not guide the care of a patient."
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What validation and test say of a run's models, by name: teacher, student and, if it was trained, alone."""

    temperatures: dict[str, Temperature]
    thresholds: dict[str, Threshold]
    test: dict[str, np.ndarray]
    """Calibrated probabilities (N, K) on the test split, rows in the set's order."""


def calibrate(models: Mapping[str, Classifier], splits: Mapping[str, Arrays], spec: InputSpec) -> Measured:
    """Temperature and conformal threshold of each model on validation, its calibrated probabilities on test."""
    temperatures, thresholds, test = {}, {}, {}
    labels = splits["val"].labels.numpy()
    for name, model in models.items():
        logits = logits_of(model, splits["val"], spec).numpy()
        temperature = fit_temperature(logits, labels)
        temperatures[name] = Temperature(temperature=temperature)
        thresholds[name] = Threshold(qhat=conformal_qhat(softmax(logits, temperature), labels, ALPHA))
        test[name] = softmax(logits_of(model, splits["test"], spec).numpy(), temperature)
    return Measured(temperatures, thresholds, test)


def write_predictions(run: Run, probabilities: Mapping[str, np.ndarray], test: Dataset) -> None:
    """Leave the test probabilities in the run, for a study to pair them with other seeds: PREDICTIONS."""
    tensors = {name: torch.from_numpy(values.copy()) for name, values in probabilities.items()}
    groups = {item: number for number, item in enumerate(dict.fromkeys(test.groups.tolist()))}
    tensors["labels"] = torch.from_numpy(test.labels)
    tensors["groups"] = torch.tensor([groups[item] for item in test.groups.tolist()])
    with replacing(run.path / PREDICTIONS) as beside:
        save_file(tensors, beside)


def assemble(
    path: Path,
    recipe: Recipe,
    dataset: Dataset,
    spec: InputSpec,
    models: Mapping[str, Classifier],
    measured: Measured,
    start: Origin | None,
) -> Bundle:
    """Write a whole bundle at `path`. `start`: the weights that the teacher began with, where that is known."""
    with replacing_folder(path) as beside:
        bundles.write_weights(beside, models["teacher"], models["student"])
        export_onnx(models["student"], beside / "student.onnx", spec.size)
        card = bundles.write_card(beside, _card(recipe, dataset, spec, models, measured, start))
        golden.record(beside, Bundle(beside, card, ""))
        bundles.seal(beside)
    return bundles.load(path)


def _metrics(measured: Measured, dataset: Dataset) -> Metrics:
    """The report on the test split. Flips are counted, not listed: a card names no image."""
    predictions = {name: Predictions(probabilities) for name, probabilities in measured.test.items()}
    test = dataset.split("test")
    found = measure(predictions, test, dataset.classes).model_copy(update={"flips": None})
    failed = tuple(role for role in ROLES if found.reports[role].beats_chance is False)
    return Metrics.model_validate({"split": "test", "n": len(test), **found.to_json(), "at_chance": failed})


def _card(
    recipe: Recipe,
    dataset: Dataset,
    spec: InputSpec,
    models: Mapping[str, Classifier],
    measured: Measured,
    start: Origin | None,
) -> Card:
    data, name = recipe.data, recipe.name
    kind = modality(data.modality)
    metrics = _metrics(measured, dataset)
    return Card(
        id=name,
        name=data.title or name,
        version="1.0.0",
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        licenses=Licenses(weights=data.weights_licence, data=data.licence),
        modality=kind.name,
        classes=tuple(_class(data, c) for c in dataset.classes),
        input=spec,
        teacher=_describe(recipe.teacher.name, models["teacher"], spec, **(start.described() if start else {})),
        student=_describe(recipe.student.name, models["student"], spec, start=recipe.student.init),
        distillation=_distillation(recipe),
        data=_data(recipe, dataset),
        metrics=metrics,
        calibration=Calibration.model_validate(
            {"method": "temperature scaling on the validation split", **measured.temperatures}
        ),
        conformal=Conformal.model_validate(
            {"alpha": ALPHA, "method": "split conformal (LAC) on the validation split", **measured.thresholds}
        ),
        eligibility=eligibility(data),
        intended_use=INTENDED_USE,
        limits=(*data.limits, *failure(metrics), shortfall(metrics)),
        versions={p: version(p) for p in ("torch", "torchvision", "onnxruntime", "timm")}
        | {"kdlight": kdlight.__version__, "python": platform.python_version()},
    )


def eligibility(data: DataConfig) -> Coverage:
    """What a file must be to be read without a person's word for it, as the card has it."""
    kind = modality(data.modality)
    return Coverage(
        modalities=(kind.name,), min_side=32, color=kind.color or None, body_parts=data.body_parts, views=data.views
    )


def _class(data: DataConfig, name: str) -> ClassDescription:
    words = data.classes.get(name, ClassWords(words=name))
    return ClassDescription(name=name, words=words.words, must_not_miss=words.must_not_miss)


def _describe(name: str, model: Classifier, spec: InputSpec, **start: Any) -> Network:
    return Network(architecture=name, parameters=parameters(model), macs=macs(model, spec.size), bytes=0, **start)


def _distillation(recipe: Recipe) -> Distillation:
    kind = find_method(recipe.distill.method)
    options = {**hyperparameters(kind), **recipe.distill.options}
    return Distillation(
        method=kind.name,
        paper=kind.paper,
        options=options,
        init=recipe.student.init,
        recipe=recipe.portable.to_toml(),
    )


def _data(recipe: Recipe, dataset: Dataset) -> DataDescription:
    counts = {s: dataset.split(s).counts() for s in ("train", "val", "test")}
    groups = {s: len(np.unique(dataset.split(s).groups)) for s in ("train", "val", "test")}
    data = recipe.data
    return DataDescription(
        name=recipe.name,
        source=data.source,
        license=data.licence,
        counts=counts,
        groups=groups,
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
    points = 100 * (teacher - student)
    side = "below" if points > 0 else "above"
    return (
        f"On {metrics.n} test images the student's balanced accuracy is {abs(points):.1f} points {side} "
        f"its teacher's ({student:.3f} against {teacher:.3f}), from one training."
    )
