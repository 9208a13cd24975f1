"""The class map: the last linear layer's weights applied to the features before pooling, no gradient.

Zhou et al., CVPR 2016, https://arxiv.org/abs/1512.04150
    M_c = sum_k w_ck A_k;  its mean over positions plus the bias is the logit of class c.
`class_maps` is the same sum in NumPy, for a network whose second output gives the features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from kdlight.explain.base import Evidence, ExplainError, Progress, cam_layer, logit, watched

TOLERANCE = 1e-3
"""Largest difference between the logits and what pooling and the linear layer give, as a share of the largest."""


def cam(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """One forward pass. Raises ExplainError for a model that does not end in global pooling and one linear layer."""
    with torch.no_grad(), watched(cam_layer(model)) as seen:
        logits = model(x)
    logit(logits, class_index)
    head = _head(model, seen[-1].detach(), logits)
    return Evidence(torch.einsum("c,chw->hw", head.weight[class_index], seen[-1][0].detach()))


def class_maps(features: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Features (B, C, h, w) and the linear layer's weight (K, C) to the maps (B, K, h, w), signed, in logits."""
    maps: np.ndarray = np.einsum("kc,bchw->bkhw", weight, features)
    return maps


def _head(model: nn.Module, features: Tensor, logits: Tensor) -> nn.Linear:
    """The linear layer that turns pooled features (B, C) into these logits (B, K)."""
    shape = (logits.shape[1], features.shape[1])
    for module in reversed(list(model.modules())):
        if isinstance(module, nn.Linear) and tuple(module.weight.shape) == shape:
            own = module(features.mean((2, 3)))
            if not (own - logits).abs().amax() > TOLERANCE * logits.abs().amax().clamp(min=1):  # NaN passes: flat
                return module
    raise ExplainError(
        f"{type(model).__name__} does not end in global pooling and one linear layer, so it has no class map. "
        f"Use gradcam instead."
    )
