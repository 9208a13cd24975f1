"""What every heat map method shares: hooks that are released, cells that lie where the network looked, one scale.

A map without contrast is zeros, never noise stretched to a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kdlight.contracts.options import checked
from kdlight.explain.registry import DEFAULT, ExplainError, explainer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kdlight.explain.lattice import Lattice

Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1) and words. What it raises ends the method, hooks released."""

FLAT = 1e-5
"""A map whose contrast is below this share of its largest value is rounding noise. The choice is ours."""
PEAK = 0.99
"""Maps of single pixels are cut at this quantile: a handful of pixels would leave the rest black. Ours."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How near a map that was made of some masks is to the method's whole map."""

    scored: int
    masks: int
    """Masks of the whole map."""
    pearson: float
    """Correlation with the whole map that 19 of 20 maps like this one reach, -1 to 1."""

    @property
    def words(self) -> str:
        near = f"{math.floor(self.pearson * 1000) / 1000:.3f} or more"
        return (
            f"{self.scored} of {self.masks} masks were scored; correlation with the whole map is estimated at {near}."
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a method gives, before it is scaled."""

    values: Tensor
    """(h', w') on the cells of `lattice`, or (C, h, w) per value of the input; positive speaks for the class."""
    lattice: Lattice | None = None
    """Where the cells lie on the input; None for a value per pixel."""
    cells: tuple[float, ...] = ()
    """Sides in pixels of the cells behind a map that several layers made pixel by pixel."""
    note: str = ""
    """What a reader should know about this map, a sentence; empty where there is nothing to say."""
    estimate: Estimate | None = None
    """Of a shortened map; None for a whole one."""


def explain(
    model: nn.Module,
    x: Tensor,
    class_index: int,
    method: str = DEFAULT,
    progress: Progress | None = None,
    **options: Any,
) -> np.ndarray:
    """Where `model` looked for one class: (h, w) float32 in [0, 1] over the input, its largest value 1.

    x: one prepared image (1, C, h, w). options: the method's own (`Explainer.options`). A map without contrast, or with
    a value that is not finite, is all zeros. The model must not be used by another thread meanwhile. Raises
    ExplainError for an unknown method, a class that the model does not have, a model that the method cannot explain,
    or a package that is missing, and OptionError for an option that it does not have or that is out of range.
    """
    return explained(model, x, class_index, method, progress, **options).heat


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
    estimate: Estimate | None = None
    """As `Evidence.estimate`."""


def explained(
    model: nn.Module,
    x: Tensor,
    class_index: int,
    method: str = DEFAULT,
    progress: Progress | None = None,
    **options: Any,
) -> Explanation:
    """As `explain`, with the grain of the map and what the method says of it."""
    import torch

    from kdlight.explain.watch import frozen

    chosen = explainer(method)
    values = checked(chosen.settings, options, section=method)
    with frozen(model), torch.enable_grad():
        evidence = chosen.function(model, x, class_index, progress or _silent, **values)
    return explanation(evidence, (x.shape[-2], x.shape[-1]))


def explanation(evidence: Evidence, size: tuple[int, int]) -> Explanation:
    """Evidence as a map over an input of (rows, columns) pixels."""
    cells = evidence.cells if evidence.lattice is None else (evidence.lattice.cell,)
    note = evidence.estimate.words if evidence.estimate else evidence.note
    return Explanation(scaled(evidence, size), cells, note, evidence.estimate)


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
