"""What methods see of a network during a pass: what layers put out, where its cells lie, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdlight.explain.base import Progress, logit
from kdlight.explain.lattice import Lattice
from kdlight.explain.registry import ExplainError
from kdlight.explain.trace import located


def cam_layer(model: nn.Module) -> nn.Module:
    """The module whose output a class activation map weighs. Raises ExplainError where the model names none."""
    layer = getattr(model, "cam_layer", None)
    if layer is None:
        raise ExplainError(
            f"{type(model).__name__} names no cam_layer, so it has no such heat map. Give the model one."
        )
    return layer  # type: ignore[no-any-return]


def cam_layers(model: nn.Module) -> tuple[nn.Module, ...]:
    """The modules whose outputs a class activation map weighs together; for most networks the cam_layer alone."""
    return getattr(model, "cam_layers", None) or (cam_layer(model),)


def fine_layers(model: nn.Module) -> tuple[nn.Module, ...]:
    """Modules with finer maps than the cam_layer, from fine to coarse; none where the model names none."""
    return tuple(getattr(model, "fine_layers", ()))


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No gradient reaches a parameter inside; the flags and the training mode come back afterwards."""
    modules = list(model.modules())
    trained = [one for module in modules for one in module.parameters(recurse=False) if one.requires_grad]
    training = [module for module in modules if module.training]
    for parameter in trained:
        parameter.requires_grad = False
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad = True
        for module in training:
            module.training = True


class Counted(nn.Module):
    """The logits (B, K) of a network; reports after each batch, of `images` to come in all."""

    def __init__(self, model: nn.Module, images: int, progress: Progress) -> None:
        super().__init__()
        self.model, self.images, self.progress, self.done = model, images, progress, 0

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        self.done += len(x)
        self.progress(min(1.0, self.done / self.images), f"{self.images} passes")
        return logits


@dataclass(slots=True)
class Watch:
    """What layers put out during one pass, and where its cells lie."""

    maps: list[Tensor]
    """(1, C_i, h_i, w_i), in the order of the layers."""
    lattices: list[Lattice]
    gradients: list[Tensor] = field(default_factory=list)
    """Of the class score, shaped as the maps; empty unless `backward` was asked."""


def stacked(parts: Sequence[Tensor], lattices: Sequence[Lattice]) -> tuple[Tensor, Lattice]:
    """Maps (C_i, h_i, w_i), each on its lattice, as (sum of C_i, h, w) on the finest of their grids."""
    finest = max(lattices, key=lambda lattice: lattice.cells)
    return torch.cat([lattice.onto(finest, part) for lattice, part in zip(lattices, parts, strict=True)]), finest


def forward(model: nn.Module, x: Tensor, class_index: int) -> tuple[Watch, Tensor]:
    """What the class activation layers put out, without gradients, and the logits (1, K)."""
    with torch.no_grad(), watched(model, cam_layers(model), x) as watch:
        logits = model(x)
    logit(logits, class_index)
    watch.maps = [maps.detach() for maps in watch.maps]
    return watch, logits


def backward(
    model: nn.Module, layers: Sequence[nn.Module], x: Tensor, class_index: int, chained: bool = False
) -> Watch:
    """What the layers put out, and the gradients of the class score there; `chained` as in `watched`."""
    with watched(model, layers, x, chained) as watch:
        score = logit(model(x), class_index)
    watch.gradients = list(torch.autograd.grad(score.sum(), watch.maps))
    watch.maps = [maps.detach() for maps in watch.maps]
    return watch


@contextmanager
def watched(model: nn.Module, layers: Sequence[nn.Module], x: Tensor, chained: bool = False) -> Iterator[Watch]:
    """Collects what each layer puts out when the model is asked for x inside.

    The outputs are cut off from what made them, so that a backward pass costs only what comes after. chained: each
    layer feeds the next, so that only the first may be cut off.
    """
    outputs: dict[int, Tensor] = {}

    def keep(module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        outputs[id(module)] = output if chained and outputs else output.detach().requires_grad_()
        watch.maps = [outputs[id(layer)] for layer in layers if id(layer) in outputs]
        return outputs[id(module)].clone()  # what follows may write into it

    with located(model, layers, x) as lattices:
        watch = Watch([], lattices)
        handles = [layer.register_forward_hook(keep) for layer in layers]
        try:
            yield watch
        finally:
            for handle in handles:
                handle.remove()
