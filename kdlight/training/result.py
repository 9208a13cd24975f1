"""What a finished run trained, calibrated on validation and measured on test; its bundle is made from this alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdlight.bundle.fitted import Temperature, Threshold
from kdlight.contracts.origin import Origin
from kdlight.contracts.recipe import Recipe
from kdlight.metrics import fit_temperature, softmax
from kdlight.models import Classifier
from kdlight.storage import save_arrays
from kdlight.training.data import CALIBRATION, RunData
from kdlight.training.loop import logits_of
from kdlight.trust import sets

PREDICTIONS = "predictions.safetensors"
"""In a run's folder: calibrated test probabilities (N, K) per model, labels (N,) and groups (N,) as numbers."""
ALPHA = 0.1
"""Share of prediction sets that may miss the truth."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The end of a run. Its models are by name: teacher, student and the baselines that were trained."""

    recipe: Recipe
    data: RunData
    models: Mapping[str, Classifier]
    start: Origin | None
    """The weights that the teacher began with, where that is known."""
    temperatures: Mapping[str, Temperature]
    thresholds: Mapping[str, Threshold]
    calibration: Mapping[str, np.ndarray]
    """Calibrated, (N, K), on the calibration images in the set's order, of the models that a bundle describes; empty
    where there are none."""
    probabilities: Mapping[str, np.ndarray]
    """Calibrated, (N, K), on the test split in the set's order; also of models that no bundle ships."""

    @classmethod
    def measured(
        cls,
        recipe: Recipe,
        data: RunData,
        models: Mapping[str, Classifier],
        unshipped: Mapping[str, Classifier],
        start: Origin | None,
    ) -> RunResult:
        """Temperature of each model on validation, its calibrated probabilities on calibration and test images.

        The thresholds of its prediction sets rest on the calibration images, which chose nothing.
        """
        temperatures, thresholds, calibration, probabilities = {}, {}, {}, {}
        labels = data.splits["val"].labels.numpy()
        for name, model in {**models, **unshipped}.items():
            logits = {s: logits_of(model, p, data.spec).numpy() for s, p in data.splits.items() if s != "train"}
            temperature = fit_temperature(logits["val"], labels)
            probabilities[name] = softmax(logits["test"], temperature)
            if name in models:
                temperatures[name] = Temperature(temperature=temperature)
                if CALIBRATION in logits:
                    calibration[name] = softmax(logits[CALIBRATION], temperature)
                thresholds[name] = _thresholds(data, calibration.get(name))
        return cls(recipe, data, models, start, temperatures, thresholds, calibration, probabilities)

    def write_predictions(self, folder: Path) -> None:
        """Leave the test probabilities in the run, for a study to pair them with other seeds: PREDICTIONS."""
        test = self.data.dataset.split("test")
        arrays = dict(self.probabilities)
        groups = {item: number for number, item in enumerate(dict.fromkeys(test.groups.tolist()))}
        arrays["labels"] = test.labels
        arrays["groups"] = np.array([groups[item] for item in test.groups.tolist()])
        save_arrays(folder / PREDICTIONS, {name: np.ascontiguousarray(values) for name, values in arrays.items()})


def _thresholds(data: RunData, probabilities: np.ndarray | None) -> Threshold:
    """Of prediction sets, from the calibration images' probabilities (N, K); every class is in them without such."""
    if probabilities is None:
        return Threshold(qhat=1.0, n=0)
    part = data.dataset.split(CALIBRATION)
    return sets.thresholds(probabilities, part.labels, part.groups, data.classes, ALPHA)
