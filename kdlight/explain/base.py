"""What every heat map method shares: hooks that are always released, one scale, and honesty when a map is flat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1) and words. What it raises ends the method, hooks released."""

FLAT = 1e-5
"""A map whose contrast is below this share of its largest value is rounding noise. The choice is ours."""
PEAK = 0.99
"""Maps of single pixels are cut at this quantile: a handful of pixels would leave the rest black. Ours."""


class ExplainError(ValueError):
    """A heat map was asked for that cannot be made."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a method found, before it is scaled."""

    values: Tensor
    """(h', w') on any grid, or (C, h, w) per value of the input; what speaks for the class is positive."""
    note: str = ""
    """What a reader should know about this map, a sentence; empty where there is nothing to say."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """One heat map method: a function (model, x, class_index, progress) -> Evidence, called with a frozen model."""

    name: str
    title: str
    summary: str
    home: str
    """module:function, imported when the method is first used: it brings torch along."""
    slow: bool = False
    """Whether a map takes seconds rather than a moment."""
    needs: str = ""
    """The package it needs beyond kdlight's own requirements."""

    @property
    def available(self) -> bool:
        return not self.needs or find_spec(self.needs) is not None

    def find(self, model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
        module, function = self.home.split(":")
        found: Evidence = getattr(import_module(module), function)(model, x, class_index, progress)
        return found


_ALL = (
    Explainer(
        "gradcam",
        "Grad-CAM",
        "Weighs each feature by how much the class score follows it. Fast.",
        "kdlight.explain.gradcam:gradcam",
    ),
    Explainer(
        "scorecam",
        "Score-CAM",
        "Shows the model the image through one feature at a time and weighs it by the class score; no gradients. "
        "Ends when the features left cannot change the map; large models take the fast way. Slow.",
        "kdlight.explain.scorecam:scorecam",
        slow=True,
    ),
    Explainer(
        "scorecam-fast",
        "Score-CAM, fast",
        "Score-CAM that scores a few of the features and predicts the others; says how close it is likely to be.",
        "kdlight.explain.scorecam:fast",
    ),
    Explainer(
        "scorecam-exact",
        "Score-CAM, every mask",
        "Score-CAM that scores every feature however long it takes: the grad-cam package's map.",
        "kdlight.explain.scorecam:exact",
        slow=True,
    ),
    Explainer(
        "cam",
        "Class map",
        "The last linear layer's weights applied to the features. Fastest; only for models that pool right before it.",
        "kdlight.explain.classmap:cam",
    ),
    Explainer(
        "occlusion",
        "Occlusion",
        "Hides one square of the image after the other and sees how far the score drops. Slow.",
        "kdlight.explain.perturbations:occlusion",
        slow=True,
        needs="captum",
    ),
    Explainer(
        "saliency",
        "Saliency",
        "How strongly the score follows each pixel, for or against.",
        "kdlight.explain.gradients:saliency",
        needs="captum",
    ),
    Explainer(
        "ixg",
        "Input x gradient",
        "Each pixel's value times how strongly the score follows it.",
        "kdlight.explain.gradients:input_x_gradient",
        needs="captum",
    ),
    Explainer(
        "guided",
        "Guided backprop",
        "The gradient with everything that speaks against left out at each activation. Sharp, but close to an edge "
        "detector: it depends little on the class.",
        "kdlight.explain.gradients:guided_backprop",
        needs="captum",
    ),
    Explainer(
        "ig",
        "Integrated gradients",
        "Adds up gradients on the way from a plain gray image to this one, in 50 steps. Slow.",
        "kdlight.explain.gradients:integrated_gradients",
        slow=True,
        needs="captum",
    ),
    Explainer(
        "deeplift",
        "DeepLIFT",
        "Splits the score's difference to that of a plain gray image among the pixels.",
        "kdlight.explain.gradients:deeplift",
        needs="captum",
    ),
    Explainer(
        "lime",
        "LIME",
        "Hides random sets of an 8 x 8 grid of squares and fits a sparse linear model to the scores. Slow.",
        "kdlight.explain.perturbations:lime",
        slow=True,
        needs="captum",
    ),
)
EXPLAINERS: dict[str, Explainer] = {method.name: method for method in _ALL}


def explainer(name: str) -> Explainer:
    """Look a method up. Raises ExplainError that names the known ones."""
    if name not in EXPLAINERS:
        raise ExplainError(f"Unknown heat map method {name!r}; one of {', '.join(EXPLAINERS)} was expected.")
    return EXPLAINERS[name]


def explain(
    model: nn.Module, x: Tensor, class_index: int, method: str = "gradcam", progress: Progress | None = None
) -> np.ndarray:
    """Where `model` looked for one class: (h, w) float32 in [0, 1] over the input, its largest value 1.

    x: one prepared image (1, C, h, w). A map without contrast, or with a value that is not finite, is all zeros.
    The model must not be used by another thread meanwhile. Raises ExplainError for an unknown method, a class that the
    model does not have, a model that the method cannot explain, or a package that is missing.
    """
    return explain_with_note(model, x, class_index, method, progress)[0]


def explain_with_note(
    model: nn.Module, x: Tensor, class_index: int, method: str = "gradcam", progress: Progress | None = None
) -> tuple[np.ndarray, str]:
    """As `explain`, and a sentence on this very map ("" where the method has nothing to say)."""
    import torch

    chosen = explainer(method)
    with frozen(model), torch.enable_grad():
        found = chosen.find(model, x, class_index, progress or _silent)
    return scaled(found.values.detach().float(), tuple(x.shape[-2:])), found.note


def enlarged(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A raw map (h, w) float32 that was made elsewhere to (rows, columns) in [0, 1], as `explain` gives it."""
    import torch

    return scaled(torch.from_numpy(values), size)


def scaled(values: Tensor, size: tuple[int, ...]) -> np.ndarray:
    """Evidence (h', w') or (C, h, w) to a map (h, w) in [0, 1]: what speaks for the class, stretched and enlarged."""
    import torch
    from torch.nn.functional import interpolate

    raw = _per_pixel(values) if values.dim() == 3 else values
    positive = raw.clamp(min=0)
    if not torch.isfinite(positive).all() or positive.amax() - positive.amin() <= FLAT * raw.abs().amax():
        return np.zeros(size, dtype=np.float32)
    large = interpolate(_stretched(positive)[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    heat: np.ndarray = _stretched(large).numpy()
    return heat


def _per_pixel(values: Tensor) -> Tensor:
    """(C, h, w) summed over its channels, cut at a quantile of what is positive."""
    summed = values.sum(0)
    positive = summed[summed > 0]
    return summed.clamp(max=float(np.quantile(positive.numpy(), PEAK))) if len(positive) else summed


def _stretched(values: Tensor) -> Tensor:
    low, high = values.amin(), values.amax()
    return (values - low) / (high - low)


def logit(logits: Tensor, class_index: int) -> Tensor:
    """The score (B,) of one class from logits (B, K). Raises ExplainError for a class that is not there."""
    if not 0 <= class_index < logits.shape[1]:
        last = logits.shape[1] - 1
        raise ExplainError(f"Class {class_index} was asked for; the model has 0 to {last}. Pick one of them.")
    return logits[:, class_index]


def cam_layer(model: nn.Module) -> nn.Module:
    """The module whose output a class activation map weighs. Raises ExplainError where the model names none."""
    layer = getattr(model, "cam_layer", None)
    if layer is None:
        raise ExplainError(
            f"{type(model).__name__} names no cam_layer, so it has no such heat map. Give the model one."
        )
    return layer  # type: ignore[no-any-return]


def _silent(_share: float, _words: str) -> None:
    """No one listens."""


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No gradient reaches a parameter inside; the flags and the training mode come back afterwards."""
    flags = [(p, p.requires_grad) for p in model.parameters()]
    training = model.training
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(training)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


@contextmanager
def watched(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what a layer puts out (B, C, h, w), as leaves: a backward pass costs only what comes after it."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1].clone()  # what follows may write into it

    handle = layer.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()
