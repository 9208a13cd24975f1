"""Attributions by gradients, as in the interpretability study (https://arxiv.org/abs/2006.02570), through captum.

All give one number per value of the input (C, h, w); the map sums them over the channels and keeps what is positive,
which speaks for the class. Saliency alone has no sign. Where a baseline is needed it is 0, the mean color that inputs
are standardised to: the study names none, so the choice is ours, as is the map's cut at the 99th percentile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kdlight.explain.base import Evidence, ExplainError, Progress
from kdlight.explain.captum import Clamped, Elementwise, Score, activations_as, captum, deeplift_rules, gap, quiet

if TYPE_CHECKING:
    from torch import nn

STEPS = 50
"""Of integrated gradients, as in the study."""
BATCH = 10
"""Steps at once."""


def saliency(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """max over channels of |d logit / d x| (Simonyan et al. 2014, https://arxiv.org/abs/1312.6034): (1, h, w)."""
    with quiet():
        found = captum().Saliency(Score(model, class_index, progress)).attribute(x.detach().clone())
    return Evidence(found[0].amax(0, keepdim=True))


def input_x_gradient(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """x * d logit / d x (Shrikumar et al. 2016, https://arxiv.org/abs/1605.01713): (C, h, w)."""
    with quiet():
        found = captum().InputXGradient(Score(model, class_index, progress)).attribute(x.detach().clone())
    return Evidence(found[0].detach())


def guided_backprop(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """The gradient, negative parts dropped at each ReLU (Springenberg et al. 2015, https://arxiv.org/abs/1412.6806).

    (C, h, w). The paper has ReLU alone; the same rule at ReLU6, GELU and the like is ours. Raises ExplainError for a
    model whose activations are no modules: nothing could be guided there.
    """
    library = captum()
    with quiet(), activations_as(Clamped, model) as count:
        if not count:
            raise ExplainError(f"{type(model).__name__} has no activation modules to guide; use saliency instead.")
        found = library.GuidedBackprop(Score(model, class_index, progress)).attribute(x.detach().clone())
    return Evidence(found[0].detach())


def integrated_gradients(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """(x - b) * mean of d logit / d x on the way from the baseline b to x (Sundararajan et al. 2017).

    https://arxiv.org/abs/1703.01365; (C, h, w). It sums to logit(x) - logit(b), up to the error of 50 steps.
    """
    score = Score(model, class_index, progress, STEPS)
    baseline = torch.zeros_like(x)
    with quiet():
        method = captum().IntegratedGradients(score)
        found = method.attribute(x.detach().clone(), baseline, n_steps=STEPS, internal_batch_size=BATCH)[0].detach()
    return Evidence(found.float(), note=gap(found, score, x, baseline))


def deeplift(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """DeepLIFT by the rescale rule (Shrikumar et al. 2017, https://arxiv.org/abs/1704.02685): (C, h, w).

    An activation's multiplier is the change of its output over that of its input, against the baseline. Attention,
    layer norm and gates have no such rule in captum and follow the plain gradient; where the parts then do not sum to
    the change in score, the note says so. Raises ExplainError for a model that uses one activation module twice.
    """
    library, score, baseline = captum(), Score(model, class_index, progress), torch.zeros_like(x)
    try:
        with quiet(), deeplift_rules(), activations_as(Elementwise, model):
            found = library.DeepLift(score).attribute(x.detach().clone(), baseline)[0].detach()
    except RuntimeError as error:
        if "more than once" not in str(error):
            raise
        raise ExplainError(
            f"{type(model).__name__} uses one activation module more than once, which DeepLIFT cannot follow; "
            f"use ig instead."
        ) from error
    return Evidence(found, note=gap(found, score, x, baseline))
