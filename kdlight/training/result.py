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
from kdlight.compress import export_onnx
from kdlight.config import ClassWords, DataConfig, Recipe
from kdlight.data import Dataset
from kdlight.data.notes import group_key
from kdlight.distillers import find as find_method
from kdlight.distillers import hyperparameters
from kdlight.inference import golden
from kdlight.inference.evaluate import Predictions, measure
from kdlight.metrics import Report, conformal_qhat, fit_temperature, softmax
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

    calibration: dict[str, Any]
    conformal: dict[str, Any]
    test: dict[str, np.ndarray]
    """Calibrated probabilities (N, K) on the test split, rows in the set's order."""


def calibrate(models: Mapping[str, Classifier], splits: Mapping[str, Arrays], spec: InputSpec) -> Measured:
    """Temperature and conformal threshold of each model on validation, its calibrated probabilities on test."""
    calibration: dict[str, Any] = {"method": "temperature scaling on the validation split"}
    conformal: dict[str, Any] = {"alpha": ALPHA, "method": "split conformal (LAC) on the validation split"}
    test = {}
    labels = splits["val"].labels.numpy()
    for name, model in models.items():
        logits = logits_of(model, splits["val"], spec).numpy()
        temperature = fit_temperature(logits, labels)
        calibration[name] = {"temperature": temperature}
        conformal[name] = {"qhat": conformal_qhat(softmax(logits, temperature), labels, ALPHA)}
        test[name] = softmax(logits_of(model, splits["test"], spec).numpy(), temperature)
    return Measured(calibration, conformal, test)


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
    card = _card(recipe, dataset, spec, models, measured, start)
    with replacing_folder(path) as beside:
        bundles.write(beside, card, models["teacher"], models["student"])
        export_onnx(models["student"], beside / "student.onnx", spec.size)
        for role in ROLES:
            getattr(card, role)["bytes"] = (beside / f"{role}.safetensors").stat().st_size
        card.student["onnx_bytes"] = (beside / "student.onnx").stat().st_size
        bundles.write_card(beside, card)
        golden.record(beside, Bundle(beside, card, ""))
        bundles.seal(beside)
    return bundles.load(path)


def _metrics(measured: Measured, dataset: Dataset) -> dict[str, Any]:
    """The report on the test split. Flips are counted, not listed: a card names no image."""
    predictions = {name: Predictions(probabilities) for name, probabilities in measured.test.items()}
    found = measure(predictions, dataset.split("test"), dataset.classes).model_copy(update={"flips": None})
    failed = [role for role in ROLES if found.reports[role].beats_chance is False]
    return {"split": "test", "n": len(dataset.split("test")), **found.to_json(), "at_chance": failed}


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
        licence=f"{data.weights_licence} for the weights; the data they were trained on: {data.licence}",
        modality=kind.name,
        classes=[_class(data, c) for c in dataset.classes],
        input=spec.to_json(),
        teacher=_describe(recipe.teacher.name, models["teacher"], spec) | (start.described() if start else {}),
        student=_describe(recipe.student.name, models["student"], spec) | {"start": recipe.student.init},
        distillation=_distillation(recipe),
        data=_data(recipe, dataset),
        metrics=metrics,
        calibration=measured.calibration,
        conformal=measured.conformal,
        eligibility=eligibility(data),
        intended_use=INTENDED_USE,
        limits=[*data.limits, *failure(metrics), shortfall(metrics)],
        versions={p: version(p) for p in ("torch", "torchvision", "onnxruntime", "timm")}
        | {"kdlight": kdlight.__version__, "python": platform.python_version()},
    )


def eligibility(data: DataConfig) -> dict[str, Any]:
    """What a file must be to be read without a person's word for it, as the card has it."""
    kind = modality(data.modality)
    anatomy = {"body_parts": list(data.body_parts), "views": list(data.views)}
    known = {key: names for key, names in anatomy.items() if names}
    return {"modalities": [kind.name], "min_side": 32, "color": kind.color or None, **known}


def _class(data: DataConfig, name: str) -> dict[str, Any]:
    words = data.classes.get(name, ClassWords(words=name))
    return {"name": name, "words": words.words, "must_not_miss": words.must_not_miss}


def _describe(name: str, model: Classifier, spec: InputSpec) -> dict[str, Any]:
    return {"architecture": name, "parameters": parameters(model), "macs": macs(model, spec.size), "bytes": 0}


def _distillation(recipe: Recipe) -> dict[str, Any]:
    kind = find_method(recipe.distill.method)
    options = {**hyperparameters(kind), **recipe.distill.options}
    return {
        "method": kind.name,
        "paper": kind.paper,
        "options": options,
        "init": recipe.student.init,
        "recipe": recipe.portable.to_toml(),
    }


def _data(recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    counts = {s: dataset.split(s).counts() for s in ("train", "val", "test")}
    groups = {s: len(np.unique(dataset.split(s).groups)) for s in ("train", "val", "test")}
    data = recipe.data
    return {
        "name": recipe.name,
        "source": data.source,
        "licence": data.licence,
        "counts": counts,
        "groups": groups,
        "group_key": group_key(dataset),
        "left_out": [{"reason": row.reason, "count": row.count} for row in dataset.left_out],
        "split_seed": data.split_seed,
    }


def failure(metrics: Mapping[str, Any]) -> list[str]:
    """A sentence for each model that is no better than chance on the test split."""
    return [
        f"This pair has failed: its {role} is no better than chance on the test images (balanced accuracy "
        f"{metrics[role]['balanced_accuracy']['value']:.3f}; one and the same answer to every image has "
        f"{Report.model_validate(metrics[role]).chance_level:.3f})."
        for role in metrics["at_chance"]
    ]


def shortfall(metrics: Mapping[str, Any]) -> str:
    """What the student lost on the test split in one training, as a sentence, whatever its sign."""
    teacher, student = (metrics[r]["balanced_accuracy"]["value"] for r in ROLES)
    points = 100 * (teacher - student)
    side = "below" if points > 0 else "above"
    return (
        f"On {metrics['n']} test images the student's balanced accuracy is {abs(points):.1f} points {side} "
        f"its teacher's ({student:.3f} against {teacher:.3f}), from one training."
    )
