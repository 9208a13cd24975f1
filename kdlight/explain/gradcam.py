"""Grad-CAM: gradients of the class score, summed over the map, weigh the features.

Selvaraju et al., ICCV 2017, https://arxiv.org/abs/1610.02391
    L = ReLU(sum_k a_k A_k),  a_k = sum over positions of d logit / d A_k
The paper's a_k is the mean; the sum is the same map, and lets streams with grids of their own be added up.
A network that ends in global pooling and one linear layer gives the class activation map of Zhou et al. 2016.
The same cells as the grad-cam package's, without its import of two seconds and its backward pass to the first layer.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from kdlight.explain.base import Evidence, Progress
from kdlight.explain.lattice import Lattice
from kdlight.explain.watch import backward, cam_layers, stacked


def gradcam(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """One forward pass and a short backward pass; nothing to report on the way."""
    watch = backward(model, cam_layers(model), x, class_index)
    return Evidence(*weighted(watch.maps, watch.gradients, watch.lattices))


def weighted(
    maps: Sequence[Tensor], gradients: Sequence[Tensor], lattices: Sequence[Lattice]
) -> tuple[Tensor, Lattice]:
    """Maps and gradients (1, C_i, h_i, w_i) of each layer to signed cells (h, w) on the finest of their grids."""
    pairs = zip(gradients, maps, strict=True)
    cells, lattice = stacked([(g.sum((2, 3), keepdim=True) * m).sum(1) for g, m in pairs], lattices)
    return cells.sum(0), lattice
