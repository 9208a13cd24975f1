"""What every heat map method shares: hooks that are released, cells that lie where the network looked, one scale.

A map without contrast is zeros, never noise stretched to a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kdlight.explain.lattice import Lattice

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
    """(h', w') on the cells of `lattice`, or (C, h, w) per value of the input; positive speaks for the class."""
    lattice: Lattice | None = None
    """Where the cells lie on the input; None for a value per pixel."""
    cells: tuple[float, ...] = ()
    """Sides in pixels of the cells behind a map that several layers made pixel by pixel."""
    note: str = ""
    """What a reader should know about this map, a sentence; empty where there is nothing to say."""
    likeness: float | None = None
    """Pearson correlation with the method's whole map that a shortened one is estimated to reach, -1 to 1."""


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


DEFAULT = "multilayer"
"""The method that is shown where nobody chose one."""
_ALL = (
    Explainer(
        DEFAULT,
        "Multi-layer",
        "The class map, kept where finer layers find something that speaks for the class too. Fast; the most exact of "
        "the maps here on outlined lesions.",
        "kdlight.explain.multilayer:multilayer",
    ),
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
    model: nn.Module, x: Tensor, class_index: int, method: str = DEFAULT, progress: Progress | None = None
) -> np.ndarray:
    """Where `model` looked for one class: (h, w) float32 in [0, 1] over the input, its largest value 1.

    x: one prepared image (1, C, h, w). A map without contrast, or with a value that is not finite, is all zeros.
    The model must not be used by another thread meanwhile. Raises ExplainError for an unknown method, a class that the
    model does not have, a model that the method cannot explain, or a package that is missing.
    """
    return explained(model, x, class_index, method, progress).heat


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """A heat map over a model's input."""

    heat: np.ndarray
    """(h, w) float32 in [0, 1] over the input, its largest value 1; zeros where the map has no contrast."""
    cells: tuple[float, ...]
    """Side of one cell of the map in pixels of the input, for each layer that it is made of; empty where the method
    gives every pixel a value of its own."""
    note: str
    """A sentence on this very map, empty where the method has nothing to say."""
    likeness: float | None = None
    """As `Evidence.likeness`."""


def explained(
    model: nn.Module, x: Tensor, class_index: int, method: str = DEFAULT, progress: Progress | None = None
) -> Explanation:
    """As `explain`, with the grain of the map and what the method says of it."""
    import torch

    from kdlight.explain.watch import frozen

    chosen = explainer(method)
    with frozen(model), torch.enable_grad():
        evidence = chosen.find(model, x, class_index, progress or _silent)
    return explanation(evidence, (x.shape[-2], x.shape[-1]))


def explanation(evidence: Evidence, size: tuple[int, int]) -> Explanation:
    """Evidence as a map over an input of (rows, columns) pixels."""
    cells = evidence.cells if evidence.lattice is None else (evidence.lattice.cell,)
    return Explanation(scaled(evidence, size), cells, evidence.note, evidence.likeness)


def scaled(evidence: Evidence, size: tuple[int, int]) -> np.ndarray:
    """Evidence to a map (h, w) float32 in [0, 1]: what speaks for the class, laid on the input and stretched."""
    raw = evidence.values.detach().float()
    raw = _per_pixel(raw) if raw.dim() == 3 else raw
    positive = raw.clamp(min=0)
    if not has_contrast(positive, raw):
        return np.zeros(size, dtype=np.float32)
    cells = _stretched(positive)
    heat = cells if evidence.lattice is None else evidence.lattice.enlarge(cells, size, fade=True)
    return np.asarray(_stretched(heat).numpy())


def has_contrast(positive: Tensor, raw: Tensor) -> bool:
    """Whether the positive part of a map is finite and says anything: more than the rounding noise of the whole."""
    spread = positive.amax() - positive.amin()
    return bool(spread.isfinite() and spread > FLAT * raw.abs().amax())


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


def _silent(_share: float, _words: str) -> None:
    """No one listens."""
