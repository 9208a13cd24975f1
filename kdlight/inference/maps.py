"""Heat maps on their way from a network to a reading: on the input, over the image, graded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kdlight import explain as explaining
from kdlight.contracts.reading import ROLES, HeatMap
from kdlight.explain import Progress
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


def graded_map(
    spec: InputSpec,
    explanation: explaining.Explanation,
    odds_ratio: float | None,
    shape: tuple[int, int],
    method: str,
    name: str,
    seconds: float,
) -> HeatMap:
    """A map over the model's input as one over the image of this shape, and how far it can be trusted."""
    scale = min(1.0, MAP_SIDE / max(shape))
    rows, columns = (max(1, round(side * scale)) for side in shape)
    values = spec.to_image_plane(explanation.heat, (rows, columns))
    grade = explaining.grade(values, odds_ratio)
    return HeatMap(
        method=method,
        class_name=name,
        values=np.zeros_like(values) if grade.flat else values,
        flat=grade.flat,
        note=f"{grade.words} {explanation.note}".strip(),
        seconds=seconds,
        cells=explanation.cells,
        input_size=spec.size,
        support=grade.support,
        odds_ratio=grade.odds_ratio,
    )


def one_share(progress: Progress | None, number: int, words: str) -> Progress:
    """One model's share, half of the whole, told to the caller."""

    def report(share: float, _detail: str) -> None:
        if progress is not None:
            progress((number + share) / len(ROLES), words)

    return report
