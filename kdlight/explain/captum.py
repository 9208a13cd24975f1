"""The door to captum (BSD-3-Clause, https://captum.ai), an extra: what it needs of a model, what it leaves behind."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from kdlight.explain.base import ExplainError, Progress, logit

ACTIVATIONS = frozenset(
    {"ReLU", "ReLU6", "LeakyReLU", "ELU", "Hardtanh", "Hardswish", "HardSwish", "HardSwishMe", "SiLU", "Swish"}
    | {"SwishMe", "GELU", "GELUTanh", "QuickGELU", "Mish", "HardMish", "Softplus"}
)
"""Modules, of torch and timm, that act on each value alone. A function called in `forward` cannot be seen."""


def captum() -> Any:
    """captum.attr. Raises ExplainError with the command that installs it."""
    try:
        return import_module("captum.attr")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "captum":
            raise
        raise ExplainError("This heat map needs captum, which is not installed; run: pip install captum") from None


class Score(nn.Module):
    """The logit (B,) of one class of inputs (B, C, h, w); reports after each batch, of `images` to come in all."""

    def __init__(self, model: nn.Module, class_index: int, progress: Progress, images: int = 1) -> None:
        super().__init__()
        self.model, self.class_index = model, class_index
        self.progress, self.images, self.done = progress, images, 0

    def forward(self, x: Tensor) -> Tensor:
        scores = logit(self.model(x), self.class_index)
        self.done += len(x)
        self.progress(min(1.0, self.done / self.images), f"{self.images} looks")
        return scores


@contextmanager
def quiet() -> Iterator[None]:
    """captum announces each hook that it sets, as a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Copied(nn.Module):
    """The same values in a tensor of their own: captum's hooks see all gradients of the tensor that they hang on."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


class Clamped(nn.ReLU):
    """Any activation, in a class that captum's guided backprop knows."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.__dict__["activation"] = activation  # no submodule: captum would hook it as well

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.__dict__["activation"](input)
        return output


class Elementwise(nn.Module):
    """Any activation, in a class that captum's DeepLIFT is taught."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.__dict__["activation"] = activation

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.__dict__["activation"](x.clone())  # some write into their input
        return output


@contextmanager
def activations_as(kind: Callable[[nn.Module], nn.Module], model: nn.Module) -> Iterator[int]:
    """Puts each activation of the model into `kind` and gives their number; afterwards all stand where they stood.

    Attributes that hooks left on modules go as well.
    """
    own = [(module, set(module.__dict__)) for module in model.modules()]
    places = [(m._modules, name, child) for m in model.modules() for name, child in m._modules.items()]
    places = [place for place in places if type(place[2]).__name__ in ACTIVATIONS]
    try:
        for children, name, child in places:
            if child is not None:
                children[name] = nn.Sequential(Copied(), kind(child))
        yield len(places)
    finally:
        for children, name, child in places:
            children[name] = child
        for module, names in own:
            for name in set(module.__dict__) - names:
                del module.__dict__[name]


@contextmanager
def deeplift_rules() -> Iterator[None]:
    """captum's rescale rule for `Elementwise`: it knows seven activations, neither ReLU6 nor GELU among them."""
    library = import_module("captum.attr._core.deep_lift")
    library.SUPPORTED_NON_LINEAR[Elementwise] = library.nonlinear
    try:
        yield
    finally:
        del library.SUPPORTED_NON_LINEAR[Elementwise]


def gap(parts: Tensor, score: Score, x: Tensor, baseline: Tensor) -> str:
    """A sentence where parts (C, h, w) do not sum to the difference in score between x and the baseline."""
    with torch.no_grad():
        high, low = logit(score.model(torch.cat([x, baseline])), score.class_index).tolist()
    total, expected = float(parts.sum()), high - low
    if abs(total - expected) <= 0.1 * max(abs(expected), 0.1):
        return ""
    return f"Its parts sum to {total:.2g} where the score changed by {expected:.2g}: read it with care."
