"""Attributions by hiding parts of the image, through captum: occlusion and LIME. No gradient is taken.

What is hidden becomes 0, the mean color that inputs are standardised to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from kdlight.explain.base import Evidence, Progress, logit
from kdlight.explain.captum import captum, quiet
from kdlight.explain.watch import Counted
from kdlight.options import Option

AT = 224
"""Side of the input in pixels that windows and strides are given at; other sides keep the proportion. That is ours."""
BATCH = 16


def occlusion(
    model: nn.Module,
    x: Tensor,
    class_index: int,
    progress: Progress,
    window: Annotated[
        int, Option("Side of the hidden square at 224 px, as in the study.", ge=1, le=AT, unit="px")
    ] = 15,
    stride: Annotated[int, Option("From one square to the next at 224 px.", ge=1, le=AT, unit="px")] = 8,
) -> Evidence:
    """How far the logit drops when a square is hidden (Zeiler & Fergus 2014, https://arxiv.org/abs/1311.2901): (h, w).

    A pixel has the mean over the squares that cover it.
    """
    window, stride = (max(1, round(length * min(x.shape[-2:]) / AT)) for length in (window, stride))
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


def lime(
    model: nn.Module,
    x: Tensor,
    class_index: int,
    progress: Progress,
    grid: Annotated[int, Option("Squares along each side, for the paper's superpixels; ours.", ge=2, le=32)] = 8,
    samples: Annotated[int, Option("Random sets of squares that are hidden.", ge=32, le=8192)] = 256,
) -> Evidence:
    """The weight of each square in a sparse linear model of the logit (Ribeiro et al. 2016): (h, w).

    https://arxiv.org/abs/1602.04938. captum's Lasso over random sets of squares, the same sets every time. Scores are
    taken in units of the change that hiding everything makes, so that its penalty suits every network.
    """
    counted = Counted(model, samples + 2, progress)
    with torch.no_grad():
        whole, hidden = logit(counted(torch.cat([x, torch.zeros_like(x)])), class_index).tolist()
    unit = abs(whole - hidden) or 1.0
    if not math.isfinite(unit):
        return Evidence(torch.full(x.shape[-2:], math.nan))
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = captum().Lime(lambda inputs: logit(counted(inputs), class_index) / unit)
        numbers = squares(x.shape[-2:], grid)
        weights = method.attribute(x, feature_mask=numbers, n_samples=samples, perturbations_per_eval=BATCH)
    return Evidence(weights[0, 0])


def squares(size: Sequence[int], grid: int) -> Tensor:
    """The number of the square, of `grid` along each side, that each pixel lies in: (1, 1, h, w), from 0."""
    rows, columns = (torch.arange(length) * grid // length for length in size)
    numbers: Tensor = torch.unique((rows[:, None] * grid + columns)[None, None], return_inverse=True)[1]
    return numbers
