"""Grad-CAM, and its kin from the grad-cam package (MIT, https://github.com/jacobgil/pytorch-grad-cam), on our lattice.

The package computes what each cell is worth. What it does around that is left out: it enlarges cells as a picture,
half a cell beside where the network looked (docs/heatmaps.md), runs a backward pass through the whole network, and
writes into `model` and `grad`. Layers are watched and cells are drawn as for every other method here.
The package takes some two seconds to import, so it is imported when the first of its methods is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdlight.explain.base import Evidence, Progress
from kdlight.explain.classmap import linear_head
from kdlight.explain.lattice import Lattice
from kdlight.explain.watch import Counted, backward, cam_layers, fine_layers, forward, stacked

BATCH = 32
"""Copies of the image that Ablation-CAM gives the network at once."""


def gradcam(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """L = ReLU(sum_k a_k A_k),  a_k = sum over positions of d logit / d A_k: Selvaraju et al. 2017.

    https://arxiv.org/abs/1610.02391. The paper's a_k is the mean; the sum is the same map, and lets streams with grids
    of their own be added up. The cells are the package's, without its import and its backward pass to the first layer.
    """
    watch = backward(model, cam_layers(model), x, class_index)
    return Evidence(*weighted(watch.maps, watch.gradients, watch.lattices))


def weighted(
    maps: Sequence[Tensor], gradients: Sequence[Tensor], lattices: Sequence[Lattice]
) -> tuple[Tensor, Lattice]:
    """Maps and gradients (1, C_i, h_i, w_i) of each layer to signed cells (h, w) on the finest of their grids."""
    pairs = zip(gradients, maps, strict=True)
    cells, lattice = stacked([(g.sum((2, 3), keepdim=True) * m).sum(1) for g, m in pairs], lattices)
    return cells.sum(0), lattice


def layercam(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """Positive gradient times map, cell by cell, at finer layers too; the layers' maps, each scaled to 1, averaged.

    Jiang et al., TIP 2021, https://doi.org/10.1109/TIP.2021.3089943. A network without fine_layers has its last alone.
    """
    fine = fine_layers(model)
    watch = backward(model, (*fine, *cam_layers(model)), x, class_index, chained=bool(fine))
    pairs = zip(watch.maps, watch.gradients, strict=True)
    cells = [_cells("LayerCAM", model, class_index, maps, gradients) for maps, gradients in pairs]
    last, lattice = stacked(cells[len(fine) :], watch.lattices[len(fine) :])
    if not fine:
        return Evidence(last.sum(0), lattice)
    layers = [*zip(cells[: len(fine)], watch.lattices, strict=False), (last.sum(0, keepdim=True), lattice)]
    heat = [place.enlarge(values[0].clamp(min=0), x.shape[-2:], fade=True) for values, place in layers]
    scaled = [one / one.amax().clamp(min=torch.finfo(one.dtype).tiny) for one in heat]
    return Evidence(torch.stack(scaled).mean(0), cells=tuple(sorted({place.cell for place in watch.lattices})))


def eigencam(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """First principal component of the maps, whatever the class: Muhammad & Yeasin 2020, https://arxiv.org/abs/2008.00299.

    A component has no sign of its own, and the package's map may be upside down; here it points to strong features.
    """
    watch, _ = forward(model, x, class_index)
    maps, lattice = stacked([maps[0] for maps in watch.maps], watch.lattices)
    (cells,) = _cells("EigenCAM", model, class_index, maps[None])
    return Evidence(cells if (cells * maps.norm(dim=0)).sum() >= 0 else -cells, lattice)


def ablationcam(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """Weights are the drops of the score when one feature map is set to zero.

    Desai & Ramaswamy, WACV 2020, https://doi.org/10.1109/WACV45572.2020.9093360. Behind global pooling and one linear
    layer the drop is exactly the mean of the map times its weight, so no pass is needed; else one per feature map.
    The negative part of maps is left out as in Grad-CAM++: where it lies a feature is absent.
    """
    watch, logits = forward(model, x, class_index)
    with torch.no_grad():
        head = linear_head(model, watch.maps[0], logits) if len(watch.maps) == 1 else None
        if head is not None:
            drops = [head.weight[class_index] * watch.maps[0].mean((2, 3))]
        else:
            drops = _drops(model, x, class_index, logits[0, class_index], watch.maps, progress)
    weighed = [
        (drop[:, :, None, None] * maps.clamp(min=0)).sum(1) for drop, maps in zip(drops, watch.maps, strict=True)
    ]
    cells, lattice = stacked(weighed, watch.lattices)
    return Evidence(cells.sum(0), lattice)


def _last_layers(
    method: str, rectified: bool, model: nn.Module, x: Tensor, class_index: int, progress: Progress
) -> Evidence:
    watch = backward(model, cam_layers(model), x, class_index)
    layers = [maps.clamp(min=0) if rectified else maps for maps in watch.maps]
    pairs = zip(layers, watch.gradients, strict=True)
    cells, lattice = stacked([_cells(method, model, class_index, *pair) for pair in pairs], watch.lattices)
    return Evidence(cells.sum(0), lattice)


gradcam_plus_plus = partial(_last_layers, "GradCAMPlusPlus", True)
"""Weights are sums of positive gradients, each place weighed so that every occurrence of the class counts alike.

Chattopadhay et al., WACV 2018, https://arxiv.org/abs/1710.11063. Defined for maps behind a ReLU; of other maps the
negative part is left out, since the weights' denominator could vanish (ours).
"""
xgradcam = partial(_last_layers, "XGradCAM", True)
"""Weights are means of the gradients, weighed by the map itself, so that the map sums to the score (ReLU networks).

Fu et al., BMVC 2020, https://arxiv.org/abs/2008.02312. The negative part of maps is left out as in Grad-CAM++.
"""
hirescam = partial(_last_layers, "HiResCAM", False)
"""Gradient times map, cell by cell, summed over the features: Draelos & Carin 2020, https://arxiv.org/abs/2011.08891."""


def _cells(method: str, model: nn.Module, class_index: int, maps: Tensor, gradients: Tensor | None = None) -> Tensor:
    """The package's cells (1, h, w), signed, of maps and gradients (1, C, h, w). It hooks no layer of the model."""
    package: Any = import_module("pytorch_grad_cam")
    targets = [package.utils.model_targets.ClassifierOutputTarget(class_index)]
    arrays = [None if values is None else values.detach().contiguous().numpy() for values in (maps, gradients)]
    with np.errstate(all="ignore"):
        cells = getattr(package, method)(model, []).get_cam_image(None, None, targets, *arrays, False)
    return torch.from_numpy(np.asarray(cells, dtype=np.float32))


def _drops(
    model: nn.Module, x: Tensor, class_index: int, score: Tensor, layers: list[Tensor], progress: Progress
) -> list[Tensor]:
    """By how much the score falls without each map: (1, C) for each of the class activation layers."""
    counted, drops = Counted(model, sum(maps.shape[1] for maps in layers), progress), []
    for layer, maps in zip(cam_layers(model), layers, strict=True):
        scores = []
        for features in torch.split(torch.arange(maps.shape[1]), BATCH):
            zeroed = maps.repeat(len(features), 1, 1, 1)
            zeroed[torch.arange(len(features)), features] = 0
            handle = layer.register_forward_hook(lambda *_, zeroed=zeroed: zeroed)
            try:
                scores.append(counted(x.expand(len(features), -1, -1, -1))[:, class_index])
            finally:
                handle.remove()
        drops.append((score - torch.cat(scores))[None])
    return drops
