"""Attributions by captum (BSD-3-Clause, https://captum.ai), an extra: integrated gradients, occlusion and LIME.

What is hidden becomes 0, the mean color that inputs are standardised to; integrated gradients start there too.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from kdlight.explain.base import Evidence, Progress, logit
from kdlight.explain.gradients import summed
from kdlight.explain.registry import AT, ExplainError
from kdlight.explain.watch import Counted

BATCH = 16


def captum() -> Any:
    """captum.attr. Raises ExplainError with the command that installs it."""
    try:
        return import_module("captum.attr")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "captum":
            raise
        raise ExplainError("This heat map needs captum, which is not installed; run: pip install captum") from None


def integrated_gradients(model: nn.Module, x: Tensor, class_index: int, progress: Progress, steps: int) -> Evidence:
    """(x - b) * mean of d logit / d x on the way from the baseline b to x (Sundararajan et al. 2017).

    https://arxiv.org/abs/1703.01365; (C, h, w). It sums to logit(x) - logit(b), up to the error of so many steps.
    """
    counted = Counted(model, steps, progress)
    with warnings.catch_warnings(action="ignore"):  # it announces each hook that it sets
        method = captum().IntegratedGradients(lambda inputs: logit(counted(inputs), class_index))
        parts = method.attribute(x.detach().clone(), torch.zeros_like(x), n_steps=steps, internal_batch_size=10)
    return summed(parts[0].detach().float(), model, x, class_index)


def occlusion(model: nn.Module, x: Tensor, class_index: int, progress: Progress, window: int, stride: int) -> Evidence:
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


def lime(model: nn.Module, x: Tensor, class_index: int, progress: Progress, grid: int, samples: int) -> Evidence:
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
