"""Attributions by captum (BSD-3-Clause, https://captum.ai), an extra: integrated gradients, occlusion and LIME.

What is hidden becomes 0, the mean color that inputs are standardised to; integrated gradients start there too.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from kdlight.contracts.options import Option
from kdlight.explain.base import Evidence, Progress, logit
from kdlight.explain.gradients import summed
from kdlight.explain.registry import ExplainError
from kdlight.explain.watch import Counted

AT = 224
"""Side of the input in pixels that windows and strides are given at; other sides keep the proportion. That is ours."""
BATCH = 16


def captum() -> Any:
    """captum.attr. Raises ExplainError with the command that installs it."""
    try:
        return import_module("captum.attr")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "captum":
            raise
        raise ExplainError("This heat map needs captum, which is not installed; run: pip install captum") from None


def integrated_gradients(
    model: nn.Module,
    x: Tensor,
    class_index: int,
    progress: Progress,
    steps: Annotated[
        int, Option("Steps from the plain gray image to this one; the study takes 50.", ge=10, le=500)
    ] = 50,
) -> Evidence:
    """(x - b) * mean of d logit / d x on the way from the baseline b to x (Sundararajan et al. 2017).

    https://arxiv.org/abs/1703.01365; (C, h, w). It sums to logit(x) - logit(b), up to the error of so many steps.
    """
    counted = Counted(model, steps, progress)
    with warnings.catch_warnings(action="ignore"):  # it announces each hook that it sets
        method = captum().IntegratedGradients(lambda inputs: logit(counted(inputs), class_index))
        parts = method.attribute(x.detach().clone(), torch.zeros_like(x), n_steps=steps, internal_batch_size=10)
    return summed(parts[0].detach().float(), model, x, class_index)


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
    with warnings.catch_warnings(action="ignore"):
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
    with warnings.catch_warnings(action="ignore"), torch.random.fork_rng(devices=[]):
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
