"""What methods see of a network during a pass: what layers put out, where its cells lie, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdlight.explain.base import ExplainError
from kdlight.explain.lattice import Lattice
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


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No gradient reaches a parameter inside; the flags and the training mode come back afterwards."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    training = [module for module in model.modules() if module.training]
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


@dataclass(slots=True)
class Watch:
    """What layers put out during one pass, and where its cells lie."""

    maps: list[Tensor]
    """(1, C_i, h_i, w_i), in the order of the layers."""
    lattices: list[Lattice]


def joined(parts: Sequence[Tensor], lattices: Sequence[Lattice]) -> tuple[Tensor, Lattice]:
    """Maps (C_i, h_i, w_i), each on its lattice, as (sum of C_i, h, w) on the finest of their grids."""
    finest = max(lattices, key=lambda place: place.cells)
    return torch.cat([place.onto(finest, part) for place, part in zip(lattices, parts, strict=True)]), finest


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

    with located(model, layers, x) as places:
        watch = Watch([], places)
        handles = [layer.register_forward_hook(keep) for layer in layers]
        try:
            yield watch
        finally:
            for handle in handles:
                handle.remove()
