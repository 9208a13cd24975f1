"""Where two models look, over a set: `kdlight evaluate --look-alike`, Compare, and the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from kdlight import explain as explaining
from kdlight.contracts.reading import ROLES, Role
from kdlight.data import Dataset
from kdlight.explain import DEFAULT
from kdlight.explain.likeness import likeness
from kdlight.metrics.look_alike import LookAlike, MapCase, look_alike
from kdlight.models import Classifier
from kdlight.preprocessing import InputSpec

Maps = dict[Role, np.ndarray]
"""Heat maps (S, S) float32 in [0, 1] over the models' input, each of the model's own answer."""
Seen = Callable[[int, Maps], None]
"""Told the index of an image and both maps of it."""


def looks(
    models: Mapping[Role, Classifier],
    spec: InputSpec,
    pixels: np.ndarray,
    probabilities: Mapping[Role, np.ndarray],
    part: Dataset,
    progress: Callable[[float, str], None] = lambda *_: None,
    seen: Seen = lambda *_: None,
) -> LookAlike:
    """How alike the maps of both models are on every image of a part, and the probabilities beside it.

    pixels uint8 (N, S, S, 3) and probabilities (N, K) by model, in the order of the part's items; seen: is told each
    image's index and maps.
    """
    classes, tops = part.classes, {role: probabilities[role].argmax(axis=1) for role in ROLES}
    gaps = np.abs(probabilities["teacher"] - probabilities["student"]).sum(axis=1) / 2
    cases = []
    for i, item in enumerate(part.items):
        progress(i / len(part), f"Heat maps of image {i + 1} of {len(part)}")
        maps = {role: _map(models[role], spec, pixels[i], int(tops[role][i])) for role in ROLES}
        seen(i, maps)
        alike = likeness(maps["teacher"], maps["student"])
        cases.append(
            MapCase(
                path=item.ref,
                truth=classes[item.label],
                teacher=classes[tops["teacher"][i]],
                student=classes[tops["student"][i]],
                probability_gap=float(gaps[i]),
                rank_correlation=alike.rank_correlation if alike else None,
                overlap=alike.overlap if alike else None,
            )
        )
    return look_alike(DEFAULT, cases, part.labels, part.groups)


def _map(model: Classifier, spec: InputSpec, pixels: np.ndarray, index: int) -> np.ndarray:
    import torch

    return explaining.explain(model, spec.normalise(torch.from_numpy(pixels[None])), index)
