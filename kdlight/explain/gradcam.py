"""Grad-CAM: gradients of the class score, averaged over the map, weigh the features.

Selvaraju et al., ICCV 2017, https://arxiv.org/abs/1610.02391
    L = ReLU(sum_k a_k A_k),  a_k = mean over positions of d logit / d A_k
A network that ends in global pooling and one linear layer gives the class activation map of Zhou et al. 2016.
The same map as the grad-cam package's, without its import of two seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kdlight.explain.base import Evidence, Progress, cam_layer, logit, watched

if TYPE_CHECKING:
    from torch import nn


def gradcam(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """One forward pass and a short backward pass; nothing to report on the way."""
    with watched(cam_layer(model)) as seen:
        score = logit(model(x), class_index)
    (gradient,) = torch.autograd.grad(score.sum(), seen[-1])  # (1, C, h, w)
    weights = gradient.mean((2, 3), keepdim=True)
    return Evidence((weights * seen[-1]).sum(1)[0])
