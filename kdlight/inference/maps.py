"""Heat maps on their way from a network to a reading: on the input, graded, over the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from kdlight import explain as explaining
from kdlight.bundle import Card
from kdlight.contracts.map_grade import MapGrade
from kdlight.contracts.modality import modality
from kdlight.contracts.reading import ROLES, HeatMap
from kdlight.explain import Progress
from kdlight.explain.grade import Mapped, flat, judged, measured, words
from kdlight.inference.engines import flushed_denormals
from kdlight.preprocessing import InputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

MAP_SIDE = 512
"""Heat maps are given at most this large on their longer side: their true grain is a few cells."""


def class_map(model: nn.Module, x: Tensor, cells: np.ndarray) -> explaining.Explanation:
    """A class map (h, w) that came with the answer, on the input x (1, 3, S, S)."""
    import torch

    from kdlight.explain.trace import lattices
    from kdlight.explain.watch import cam_layer

    (lattice,) = lattices(model, [cam_layer(model)], x)
    evidence = explaining.Evidence(torch.from_numpy(cells), lattice)
    return explaining.explanation(evidence, (x.shape[-2], x.shape[-1]))


def grade(card: Card, one: Mapped, probabilities: Callable[[Tensor], np.ndarray], answered: bool) -> MapGrade:
    """A map of one of a bundle's models held against its card; limits are for the class that the model `answered`."""
    from kdlight.preprocessing.augment import AUGMENTATIONS

    with flushed_denormals():
        kind, mirror = modality(card.modality), AUGMENTATIONS[card.modality].mirror
        found = measured(one, lambda x: np.asarray(probabilities(x)[:, one.class_index]), mirror, kind.air)
    return judged(found, card.map_limits(one.method) if answered else None)


def over_image(
    spec: InputSpec,
    explanation: explaining.Explanation,
    grade: MapGrade | None,
    shape: tuple[int, int],
    method: str,
    name: str,
    seconds: float,
) -> HeatMap:
    """A map over the model's input as one over the image of this shape, with its grade."""
    scale = min(1.0, MAP_SIDE / max(shape))
    rows, columns = (max(1, round(side * scale)) for side in shape)
    values = spec.to_image_plane(explanation.heat, (rows, columns))
    without = flat(values)
    return HeatMap(
        method=method,
        class_name=name,
        values=np.zeros_like(values) if without else values,
        flat=without,
        note=" ".join(filter(None, (words(grade, without), explanation.note))),
        seconds=seconds,
        cells=explanation.cells,
        input_size=spec.size,
        grade=grade,
    )


def one_share(progress: Progress | None, number: int, words: str) -> Progress:
    """One model's share, half of the whole, told to the caller."""

    def report(share: float, _detail: str) -> None:
        if progress is not None:
            progress((number + share) / len(ROLES), words)

    return report
