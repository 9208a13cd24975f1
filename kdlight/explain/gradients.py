"""Attributions by gradients, as in the interpretability study (https://arxiv.org/abs/2006.02570).

All give one number per value of the input (C, h, w); the map sums them over the channels and keeps what is positive,
which speaks for the class. Saliency alone has no sign. Where a baseline is needed it is 0, the mean color that inputs
are standardised to: the study names none, so the choice is ours, as is the map's cut at the 99th percentile.
Guided backprop and DeepLIFT change what activations pass back, by hooks: captum's know ReLU and six more, do not
follow one that is used twice, and would need every activation of a network replaced by one that they know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from kdlight.explain.base import Evidence, Progress, logit
from kdlight.explain.registry import ExplainError

SUMMED = 0.1
"""Share of the change in score by which the parts of a map may miss it before the note says so."""
ACTIVATIONS = frozenset(
    {"ReLU", "ReLU6", "LeakyReLU", "ELU", "Hardtanh", "Hardswish", "HardSwish", "HardSwishMe", "SiLU", "Swish"}
    | {"SwishMe", "GELU", "GELUTanh", "QuickGELU", "Mish", "HardMish", "Softplus"}
)
"""Modules, of torch and timm, that act on each value alone. A function called in `forward` cannot be seen."""


def saliency(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """max over channels of |d logit / d x| (Simonyan et al. 2014, https://arxiv.org/abs/1312.6034): (1, h, w)."""
    return Evidence(_gradient(model, x, class_index).abs().amax(0, keepdim=True))


def input_x_gradient(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """x * d logit / d x (Shrikumar et al. 2016, https://arxiv.org/abs/1605.01713): (C, h, w)."""
    return Evidence(x[0] * _gradient(model, x, class_index))


def guided_backprop(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """The gradient, negative parts dropped at each ReLU (Springenberg et al. 2015, https://arxiv.org/abs/1412.6806).

    (C, h, w). The paper has ReLU alone; the same rule at ReLU6, GELU and the like is ours. Raises ExplainError for a
    model whose activations are no modules: nothing could be guided there.
    """

    def positive(inputs: Tensor) -> Callable[[Tensor], Tensor]:
        inputs.register_hook(lambda gradient: gradient.clamp(min=0))  # type: ignore[no-untyped-call]
        return lambda output: output

    with _activations(model, positive) as count:
        if not count:
            raise ExplainError(f"{type(model).__name__} has no activation modules to guide; use saliency instead.")
        return Evidence(_gradient(model, x, class_index))


def deeplift(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """DeepLIFT by the rescale rule (Shrikumar et al. 2017, https://arxiv.org/abs/1704.02685): (C, h, w).

    An activation's multiplier is the change of its output over that of its input, against the baseline. Maxima,
    attention, layer norm and gates have no such rule here and follow the plain gradient; where the parts then do not
    sum to the change in score, the note says so.
    """

    def rescaled(inputs: Tensor) -> Callable[[Tensor], Tensor]:
        values = inputs.detach().clone()  # (2, ...): the image's and the baseline's

        def passed(output: Tensor) -> Tensor:
            change, slope = values[:1] - values[1:], output.detach()[:1] - output.detach()[1:]
            straight = output.detach() + slope / change.where(change != 0, 1.0) * (inputs - values)
            return torch.where(change.abs() > 1e-6, straight, output)

        return passed

    with _activations(model, rescaled):
        gradient = _gradient(model, torch.cat([x, torch.zeros_like(x)]), class_index)
    return summed(x[0] * gradient, model, x, class_index)


def _gradient(model: nn.Module, x: Tensor, class_index: int) -> Tensor:
    """d logit / d x of the first image (C, h, w)."""
    inputs = x.detach().clone().requires_grad_()
    return torch.autograd.grad(logit(model(inputs), class_index)[0], inputs)[0][0]


@contextmanager
def _activations(model: nn.Module, rule: Callable[[Tensor], Callable[[Tensor], Tensor]]) -> Iterator[int]:
    """Inside it, each activation's input goes through `rule`, whose result takes its output; gives their number."""
    pending: list[Callable[[Tensor], Tensor]] = []

    def before(_module: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
        copied: Tensor = inputs[0].clone()
        pending.append(rule(copied))
        return copied.clone()  # some write into their input

    def after(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return pending.pop()(output)

    modules = [module for module in model.modules() if type(module).__name__ in ACTIVATIONS]
    handles = [module.register_forward_pre_hook(before) for module in modules]
    handles += [module.register_forward_hook(after) for module in modules]
    try:
        yield len(modules)
    finally:
        for handle in handles:
            handle.remove()


def summed(parts: Tensor, model: nn.Module, x: Tensor, class_index: int) -> Evidence:
    """Parts (C, h, w) with a note where they do not sum to the difference in score between x and the baseline 0."""
    with torch.no_grad():
        high, low = logit(model(torch.cat([x, torch.zeros_like(x)])), class_index).tolist()
    total, expected = float(parts.sum()), high - low
    near = abs(total - expected) <= SUMMED * max(abs(expected), 0.1)
    note = f"Its parts sum to {total:.2g} where the score changed by {expected:.2g}: read it with care."
    return Evidence(parts.detach(), note="" if near else note)
