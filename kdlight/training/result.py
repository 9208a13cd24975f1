"""What a finished run trained, calibrated on validation and measured on test; its bundle is made from this alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdlight.bundle.card import Temperature, Threshold
from kdlight.contracts.origin import Origin
from kdlight.contracts.recipe import Recipe
from kdlight.metrics import conformal_qhat, fit_temperature, softmax
from kdlight.models import Classifier
from kdlight.storage import save_arrays
from kdlight.training.data import RunData
from kdlight.training.loop import logits_of

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
    validation: Mapping[str, np.ndarray]
    """Calibrated, (N, K), on the validation split in the set's order, of the models that a bundle describes."""
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
        """Temperature and conformal threshold of each model on validation, its calibrated probabilities on test."""
        temperatures, thresholds, validation, probabilities = {}, {}, {}, {}
        val, test = data.splits["val"], data.splits["test"]
        labels = val.labels.numpy()
        for name, model in {**models, **unshipped}.items():
            logits = logits_of(model, val, data.spec).numpy()
            temperature = fit_temperature(logits, labels)
            probabilities[name] = softmax(logits_of(model, test, data.spec).numpy(), temperature)
            if name in models:
                temperatures[name] = Temperature(temperature=temperature)
                validation[name] = softmax(logits, temperature)
                thresholds[name] = Threshold(qhat=conformal_qhat(validation[name], labels, ALPHA))
        return cls(recipe, data, models, start, temperatures, thresholds, validation, probabilities)

    def write_predictions(self, folder: Path) -> None:
        """Leave the test probabilities in the run, for a study to pair them with other seeds: PREDICTIONS."""
        test = self.data.dataset.split("test")
        arrays = dict(self.probabilities)
        groups = {item: number for number, item in enumerate(dict.fromkeys(test.groups.tolist()))}
        arrays["labels"] = test.labels
        arrays["groups"] = np.array([groups[item] for item in test.groups.tolist()])
        save_arrays(folder / PREDICTIONS, {name: np.ascontiguousarray(values) for name, values in arrays.items()})
