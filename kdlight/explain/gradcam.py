"""Grad-CAM: gradients of the class score, summed over the map, weigh the features.

Selvaraju et al., ICCV 2017, https://arxiv.org/abs/1610.02391
    L = ReLU(sum_k a_k A_k),  a_k = sum over positions of d logit / d A_k
The paper's a_k is the mean; the sum is the same map, and lets streams with grids of their own be added up.
A network that ends in global pooling and one linear layer gives the class activation map of Zhou et al. 2016.
The same cells as the grad-cam package's, without its import of two seconds, drawn at their receptive fields' centers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kdlight.explain.base import Evidence, Progress, logit
from kdlight.explain.watch import cam_layers, joined, watched

if TYPE_CHECKING:
    from torch import nn


def gradcam(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """One forward pass and a short backward pass; nothing to report on the way."""
    with watched(model, cam_layers(model), x) as watch:
        score = logit(model(x), class_index)
    gradients = torch.autograd.grad(score.sum(), watch.maps)  # (1, C, h, w) each
    pairs = zip(gradients, watch.maps, strict=True)
    cells, lattice = joined([(g.sum((2, 3), keepdim=True) * m).sum(1) for g, m in pairs], watch.lattices)
    return Evidence(cells.sum(0), lattice)
