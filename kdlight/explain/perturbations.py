"""Attributions by hiding parts of the image, through captum: occlusion and LIME. No gradient is taken.

What is hidden becomes 0, the mean color that inputs are standardised to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kdlight.explain.base import Evidence, Progress, logit
from kdlight.explain.captum import captum, quiet
from kdlight.explain.watch import Counted

if TYPE_CHECKING:
    from torch import nn

WINDOW, STRIDE, AT = 15, 8, 224
"""Pixels, as in the interpretability study, taken at a side of 224; other sides keep the proportion. That is ours."""
GRID = 8
"""LIME's squares along each side. They stand in for the superpixels of the paper; the choice is ours."""
SAMPLES = 256
"""Random sets of squares that LIME hides."""
BATCH = 16


def occlusion(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """How far the logit drops when a square is hidden (Zeiler & Fergus 2014, https://arxiv.org/abs/1311.2901): (h, w).

    A pixel has the mean over the squares that cover it.
    """
    window, stride = spans(min(x.shape[-2:]))
    passes = 1 + math.prod(1 + math.ceil((length - window) / stride) for length in x.shape[-2:])
    counted, channels = Counted(model, passes, progress), x.shape[1]
    with quiet():
        method = captum().Occlusion(lambda inputs: logit(counted(inputs), class_index))
        drops = method.attribute(
            x,
            sliding_window_shapes=(channels, window, window),
            strides=(channels, stride, stride),
            perturbations_per_eval=BATCH,
        )
    return Evidence(drops[0, 0])


def lime(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """The weight of each square in a sparse linear model of the logit (Ribeiro et al. 2016): (h, w).

    https://arxiv.org/abs/1602.04938. captum's Lasso over random sets of squares, the same sets every time. Scores are
    taken in units of the change that hiding everything makes, so that its penalty suits every network.
    """
    counted = Counted(model, SAMPLES + 2, progress)
    with torch.no_grad():
        whole, hidden = logit(counted(torch.cat([x, torch.zeros_like(x)])), class_index).tolist()
    unit = abs(whole - hidden) or 1.0
    if not math.isfinite(unit):
        return Evidence(torch.full(x.shape[-2:], math.nan))
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = captum().Lime(lambda inputs: logit(counted(inputs), class_index) / unit)
        grid = squares(x.shape[-2:])
        weights = method.attribute(x, feature_mask=grid, n_samples=SAMPLES, perturbations_per_eval=BATCH)
    return Evidence(weights[0, 0])


def spans(side: int) -> tuple[int, int]:
    """Window and stride in pixels for an input of this side."""
    return max(1, round(WINDOW * side / AT)), max(1, round(STRIDE * side / AT))


def squares(size: Sequence[int]) -> Tensor:
    """The number of the square that each pixel lies in: (1, 1, h, w), from 0."""
    rows, columns = (torch.arange(length) * GRID // length for length in size)
    numbers: Tensor = torch.unique((rows[:, None] * GRID + columns)[None, None], return_inverse=True)[1]
    return numbers
