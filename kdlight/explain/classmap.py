"""The class map: the last linear layer's weights applied to the features before pooling, no gradient.

Zhou et al., CVPR 2016, https://arxiv.org/abs/1512.04150
    M_c = sum_k w_ck A_k;  its mean over positions plus the bias is the logit of class c.
Selvaraju et al., ICCV 2017 (https://arxiv.org/abs/1610.02391), section 3.1: for such a network Grad-CAM is this map's
positive part, up to a factor. So one pass without a gradient gives the logits and, scaled, both heat maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from kdlight.explain.base import Evidence, Progress, logit
from kdlight.explain.registry import ExplainError
from kdlight.explain.trace import lattices
from kdlight.explain.watch import cam_layer

TOLERANCE = 1e-3
"""Largest difference between the logits and what pooling and the linear layer give, as a share of the largest."""


def cam(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """One forward pass. Raises ExplainError for a model that does not end in global pooling and one linear layer."""
    with torch.no_grad():
        logits, maps = mapped(model, x)
    logit(logits, class_index)
    if maps is None:
        raise ExplainError(
            f"{type(model).__name__} does not end in global pooling and one linear layer, so it has no class map. "
            f"Use gradcam instead."
        )
    (lattice,) = lattices(model, [cam_layer(model)], x)
    return Evidence(maps[0, class_index], lattice)


def mapped(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Logits (B, K) of x and the class maps (B, K, h, w), signed, in logits; None where the model has none."""
    logits, features = with_features(model, x)
    head = linear_head(model, features, logits)
    return logits, None if head is None else conv2d(features, head.weight[:, :, None, None])


def linear_head(model: nn.Module, features: Tensor, logits: Tensor) -> nn.Linear | None:
    """The layer that turns the mean of these features (B, C, h, w) into these logits (B, K); None if there is none."""
    if features.dim() != 4:
        return None
    for module in reversed(list(model.modules())):
        if isinstance(module, nn.Linear) and module.weight.shape == (logits.shape[1], features.shape[1]):
            answer = module(features.mean((2, 3)))
            if not (answer - logits).abs().amax() > TOLERANCE * logits.abs().amax().clamp(min=1):  # NaN passes: flat
                return module
    return None


def with_features(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, K), and a copy of what the model's cam_layer put out on the way: what follows may write into it.

    Raises ExplainError where the model names no such layer.
    """
    seen: list[Tensor] = []
    handle = cam_layer(model).register_forward_hook(lambda _module, _inputs, output: seen.append(output.clone()))
    try:
        logits = model(x)
    finally:
        handle.remove()
    return logits, seen[-1]
