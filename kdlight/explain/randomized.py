"""Networks with random weights, as a check of what a heat map owes to what was learned.

Adebayo et al., NeurIPS 2018, https://arxiv.org/abs/1810.03292: a map that stays as it is when weights become random,
from the last layer on ("cascading"), says nothing of the model. The random weights are scaled layer by layer so that a
smooth random picture keeps unit variance (Mishkin & Matas, ICLR 2016, https://arxiv.org/abs/1511.06422): without that a
deep network's features vanish or explode, and its map is flat for that reason alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

SHARES = (0.0, 0.5, 1.0)
"""Of the layers, from the last one on: the last alone, the later half, all."""
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def randomized(model: nn.Module, share: float, side: int, seed: int = 0) -> nn.Module:
    """A copy of a network for square inputs of `side` pixels with random weights in that share of its layers.

    Layers count in the order of their registration; the last one is always among them. What is not drawn anew is shared
    with the model.
    """
    layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    first = min(len(layers) - 1, round(len(layers) * (1 - share)))
    order = list(model.modules())
    norms = [one for one in order[order.index(layers[first]) :] if isinstance(one, NORMS)]
    drawn = [*layers[first:], *norms]
    new = {id(tensor) for module in drawn for tensor in chain(module.parameters(False), module.buffers(False))}
    memo = {id(t): t for t in chain(model.parameters(), model.buffers()) if id(t) not in new}
    copied: dict[int, object] = {**memo}
    twin = copy.deepcopy(model, copied)
    generator = torch.Generator().manual_seed(seed)
    for norm in norms:
        copied[id(norm)].reset_parameters()  # type: ignore[attr-defined]
    _draw([copied[id(layer)] for layer in layers[first:]], twin, _picture(side, generator), generator)  # type: ignore[misc]
    return twin


@torch.no_grad()
def _draw(layers: Sequence[nn.Module], twin: nn.Module, picture: Tensor, generator: torch.Generator) -> None:
    """Fill the layers with random weights under which the picture's features have unit variance in each."""
    for layer in layers:
        for parameter in layer.parameters(recurse=False):
            random = torch.randn(parameter.shape, generator=generator) if parameter.dim() > 1 else 0.0
            parameter.copy_(torch.as_tensor(random))

    def scale(layer: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        deviation = output.std().clamp(min=1e-12)
        layer.weight /= deviation  # type: ignore[operator, arg-type]
        return output / deviation

    handles = [layer.register_forward_hook(scale) for layer in layers]
    try:
        twin(picture)
    finally:
        for handle in handles:
            handle.remove()


def _picture(side: int, generator: torch.Generator) -> Tensor:
    """Smooth noise of unit variance (1, 3, side, side)."""
    cells = torch.randn((1, 3, 16, 16), generator=generator)
    picture = interpolate(cells, size=(side, side), mode="bicubic")
    return picture / picture.std()
