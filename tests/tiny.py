"""How the tests' bundle is made: the real architectures at 64 px, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, Card
from kdlight.compress import export_onnx, round_to_half
from kdlight.inference import golden
from kdlight.models import Classifier, create_model, macs, parameters
from kdlight.preprocessing import InputSpec

SIZE = 64
CLASSES = [
    {"name": "benign", "words": "Benign", "must_not_miss": False},
    {"name": "malignant", "words": "Malignant", "must_not_miss": True},
    {"name": "normal", "words": "Normal", "must_not_miss": False},
]
ARCHITECTURES = {"teacher": "mobilenetv2", "student": "kdlight_nano"}


def build(path: Path) -> Bundle:
    """Write, seal and load the bundle at `path`."""
    models = {role: untrained(name, seed) for seed, (role, name) in enumerate(ARCHITECTURES.items())}
    bundles.write_weights(path, models["teacher"], models["student"])
    export_onnx(models["student"], path / "student.onnx", SIZE)
    card = bundles.write_card(path, card_of(models))
    golden.record(path, Bundle(path, card, ""))
    bundles.seal(path)
    return bundles.load(path)


def untrained(name: str, seed: int) -> Classifier:
    """A network with random weights whose answers differ from image to image: batch norm has seen some."""
    torch.manual_seed(seed)
    model = create_model(name, len(CLASSES))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    pictures = np.stack([golden.draw(i, SIZE, color=False) for i in range(8)])
    with torch.no_grad():
        model.train()(InputSpec(SIZE).normalise(torch.from_numpy(pictures)))
        model.classifier.weight.mul_(8).add_(0.1)  # the shift changes no probability; it keeps class maps positive
    round_to_half(model)
    return model.eval()


def card_of(models: dict[str, Classifier]) -> Card:
    described = {
        role: {
            "architecture": ARCHITECTURES[role],
            "parameters": parameters(model),
            "macs": macs(model, SIZE),
            "bytes": 0,
            "start": "random weights",
        }
        for role, model in models.items()
    }
    return Card.model_validate(
        {
            "id": "tiny_mri",
            "name": "Tiny MRI",
            "version": "1.0.0",
            "created": "2026-01-01",
            "licenses": {"weights": "MIT", "data": "MIT"},
            "modality": "mri",
            "classes": CLASSES,
            "input": InputSpec(SIZE).to_json(),
            **described,
            "distillation": {"method": "kd", "options": {"temperature": 4.0, "alpha": 0.7}, "init": "random"},
            "data": {"name": "drawn", "source": "drawn by the tests", "license": "MIT", "group_key": "file"},
            "metrics": {"split": "test", "n": 60, **{role: measured() for role in ("teacher", "student", "alone")}},
            "calibration": {"teacher": {"temperature": 1.5}, "student": {"temperature": 2.0}},
            "conformal": {"alpha": 0.1, "teacher": {"qhat": 0.6}, "student": {"qhat": 0.7}},
            "eligibility": {"modalities": ["mri"], "min_side": 32, "color": None},
            "intended_use": "Tests only.",
            "limits": ["The weights are random."],
            "versions": {},
        }
    )


def measured() -> dict[str, Any]:
    names = ("accuracy", "balanced_accuracy", "auc", "macro_f1", "ece", "brier")
    scores = {name: {"value": 0.5, "low": 0.4, "high": 0.6} for name in names}
    return {**scores, "recall": {c["name"]: {"value": 0.5, "low": 0.3, "high": 0.7} for c in CLASSES}}
