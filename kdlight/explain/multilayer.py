"""The multi-layer map: the class map, kept only where finer layers find something that speaks for the class too.

    L = ReLU(sum_k a_k A_k) * prod_l G * sum_k ReLU(dy/dA_lk . A_lk)
The first factor is Grad-CAM (Selvaraju et al., ICCV 2017, https://arxiv.org/abs/1610.02391): it knows the class, on a
few coarse cells. The others are the positive part of HiResCAM's product (Draelos & Carin 2020,
https://arxiv.org/abs/2011.08891) at layers with cells of an eighth and a sixteenth, as LayerCAM fuses layers (Jiang et
al., TIP 2021, https://doi.org/10.1109/TIP.2021.3089943), smoothed by a Gaussian G. Multiplying them, so that a place
counts where every layer finds it, is ours, and so are the layers and the width of G: among single layers, sums,
products, weightings and widths these put the peak into the most lesions of busi3 that no model had learned from, and
deleting what they mark lowers the answer the most on all seven sets (docs/heatmaps.md).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from kdlight.explain.base import Evidence, Progress, has_contrast
from kdlight.explain.cam_family import weighted
from kdlight.explain.lattice import Axis
from kdlight.explain.watch import backward, cam_layers, fine_layers

WIDTH = 3 / 8
"""Standard deviation of the smoothing, in cells of the finest layer."""


def multilayer(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """One forward pass and a backward pass to the finest layer; Grad-CAM for a network that names no fine_layers."""
    fine = fine_layers(model)
    watch = backward(model, (*fine, *cam_layers(model)), x, class_index, chained=bool(fine))
    maps, gradients, lattices = watch.maps, watch.gradients, watch.lattices
    first = len(fine)
    class_map, lattice = weighted(maps[first:], gradients[first:], lattices[first:])
    if not fine or not has_contrast(class_map.clamp(min=0), class_map):
        return Evidence(class_map, lattice)
    heat = _scaled(lattice.enlarge(class_map.clamp(min=0), x.shape[-2:], fade=True))
    deviation = WIDTH * lattices[0].cell
    for values, gradient, place in zip(maps[:first], gradients, lattices, strict=False):
        rows, columns = (_smooth(axis, side, deviation) for axis, side in zip(place.axes, heat.shape, strict=True))
        heat = heat * _scaled(rows @ (gradient * values).clamp(min=0).sum(1)[0] @ columns.T)
    return Evidence(heat, cells=tuple(sorted({place.cell for place in lattices})))


def _scaled(values: Tensor) -> Tensor:
    """Divided by the largest value, so that a product of several stays within floating point; zeros stay zeros."""
    largest = values.amax()
    return values / largest if largest > 0 else values


@lru_cache(maxsize=64)
def _smooth(axis: Axis, length: int, deviation: float) -> Tensor:
    """Interpolation weights (length, count) followed by a Gaussian, which at the border averages over what is there."""
    places = torch.arange(length)
    kernel = torch.exp(-((places[:, None] - places) / deviation).square() / 2)
    return kernel / kernel.sum(1, keepdim=True) @ axis.weights(places, fade=True)
