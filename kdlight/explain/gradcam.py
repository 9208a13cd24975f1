"""Grad-CAM: gradients of the class score, averaged over the map, weigh the features.

Selvaraju et al., ICCV 2017, https://arxiv.org/abs/1610.02391
    L = ReLU(sum_k a_k A_k),  a_k = mean over positions of d logit / d A_k
A network that ends in global pooling and one linear layer gives the class activation map of Zhou et al. 2016.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytorch_grad_cam import GradCAM

if TYPE_CHECKING:
    from torch import nn

    from kdlight.explain.base import Progress


def build(model: nn.Module, layer: nn.Module, progress: Progress) -> Any:
    """One forward pass and a short backward pass; nothing to report on the way."""
    return GradCAM(model, [layer])
