"""How far a heat map can be trusted: does blurring what it marks cost the answer more than blurring the rest?

The order of removal is that of ROAD (Rong et al., ICML 2022, https://arxiv.org/abs/2202.00449): the picture without the
map's strongest parts against the picture without its weakest. What is removed is blurred, where ROAD solves for it from
its neighbors: on the validation images of the shipped bundles that tells maps of the network from maps of one with
random weights as well, in a fraction of the time (docs/heatmaps.md has the figures and how STRONG was chosen).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from kdlight.contracts.reading import Support

if TYPE_CHECKING:
    from torch import Tensor

STRONGEST, WEAKEST = 0.3, 0.5
"""Shares of the image that are blurred away."""
BLUR = 0.1
"""Standard deviation of the blur, in sides of the input."""
STRONG = 5.0
"""Odds ratio from which a map counts as supported: half of the default maps of shipped networks reach it, one in five
of networks with random weights."""
RIM = 0.125
"""Width of the outer border as a share of each side; a uniform map has 0.44 of its mass there."""
ON_RIM = 0.5


@dataclass(frozen=True, slots=True)
class Grade:
    """What can be read from a map."""

    support: Support
    odds_ratio: float | None
    """Odds of the class without the map's weakest parts over those without its strongest; None: not measured."""
    focus: float
    """Share of the map's mass in the strongest tenth of the area, 0.1 (uniform) to 1; 0 when flat."""
    border: float
    """Share of the map's mass on the outer border, 0 to 1; 0 when flat."""

    @property
    def flat(self) -> bool:
        return self.support == "flat"

    @property
    def words(self) -> str:
        """One to three sentences for a reader who knows no statistics."""
        if self.flat:
            return "Flat: the map has no contrast, so nothing can be read from it."
        words = [_SUPPORT[self.support].format(_times(self.odds_ratio))] if self.odds_ratio is not None else []
        words.append(f"{self.focus:.0%} of the map lies in a tenth of the image.")
        if self.border >= ON_RIM:
            words.append(f"{self.border:.0%} lies at the edge: look for markers, text or frames there.")
        return " ".join(words)


_BLURRING = "blurring what the map marks lowers the odds of its class"
_SUPPORT = {
    "strong": f"Supported: {_BLURRING} {{}} more than blurring the rest.",
    "weak": f"Weakly supported: {_BLURRING} {{}} more than blurring the rest, as that of a random map may.",
    "none": f"Not supported: {_BLURRING} no more than blurring the rest.",
}


def grade(heat: np.ndarray, odds_ratio: float | None = None) -> Grade:
    """Grade a map (h, w) in [0, 1]; `odds_ratio` as `odds_ratio` measures it, None where it was not."""
    if not np.isfinite(heat).all() or np.ptp(heat) == 0:
        return Grade("flat", None, 0.0, 0.0)
    return Grade(_support(odds_ratio), odds_ratio, _focus(heat), _border(heat))


def odds_ratio(heat: np.ndarray, x: Tensor, logits: Callable[[Tensor], np.ndarray], class_index: int) -> float | None:
    """How many times the odds of a class are higher without a map's weakest parts than without its strongest.

    heat: (h, w) over the prepared image x (1, C, h, w); logits: a batch (2, C, h, w) to (2, K). None where the map is
    flat, or there is one class only.
    """
    import torch

    if np.ptp(heat) == 0:
        return None
    picture = x[0].numpy()
    blurred = _blurred(picture, BLUR, "reflect")
    ranks = _ranks(heat)
    without = [np.where(part, blurred, picture) for part in (ranks < WEAKEST, ranks >= 1 - STRONGEST)]
    answers = logits(torch.from_numpy(np.stack(without)))
    if answers.shape[1] < 2:
        return None
    weakest, strongest = _log_odds(answers, class_index)
    difference = float(weakest - strongest)
    return math.exp(max(-50.0, min(50.0, difference))) if math.isfinite(difference) else None


def _ranks(heat: np.ndarray) -> np.ndarray:
    """Each pixel's place among all, from the weakest at 0 to below 1.

    Equal values, as the zeros of many maps are: those farther from the strong parts count as weaker, then the earlier.
    """
    order = heat + 1e-9 * _blurred(heat, 1 / 8, "nearest").astype(np.float64)
    order = order.ravel() + 1e-30 * np.arange(heat.size)  # one sort, eight times as fast as one by three keys
    ranks = np.empty(heat.size)
    ranks[np.argsort(order)] = np.arange(heat.size) / heat.size
    return ranks.reshape(heat.shape)


def _blurred(values: np.ndarray, deviation: float, border: str) -> np.ndarray:
    """scipy's gaussian_filter of (..., h, w) float32 as two matrix products, five times faster; deviation in sides."""
    rows, columns = (_gaussian(side, deviation * side, border) for side in values.shape[-2:])
    return np.asarray(rows @ values @ columns.T)


@lru_cache(16)
def _gaussian(side: int, deviation: float, border: str) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d  # type: ignore[import-untyped, unused-ignore]

    return np.asarray(gaussian_filter1d(np.eye(side), deviation, axis=0, mode=border), dtype=np.float32)


def similarity(a: np.ndarray, b: np.ndarray) -> float | None:
    """Pearson correlation of two maps of one shape, -1 to 1; None where one is flat.

    Raises ValueError if the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"The maps are {a.shape} and {b.shape}; one shape was expected. Make both for one image.")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.clip(np.corrcoef(a.ravel(), b.ravel(), dtype=a.dtype)[0, 1], -1.0, 1.0))


def _log_odds(logits: np.ndarray, class_index: int) -> np.ndarray:
    """log p / (1 - p) (B,) of one class, by softmax of logits (B, K)."""
    others = np.delete(logits.astype(np.float64), class_index, axis=1)
    return np.asarray(logits[:, class_index] - np.logaddexp.reduce(others, axis=1))


def _support(odds_ratio: float | None) -> Support:
    if odds_ratio is None:
        return "unmeasured"
    if odds_ratio >= STRONG:
        return "strong"
    return "weak" if odds_ratio > 1 else "none"


def _times(odds_ratio: float) -> str:
    if odds_ratio >= 100:
        return "over 100 times"
    return f"{odds_ratio:.1f} times" if odds_ratio < 10 else f"{odds_ratio:.0f} times"


def _focus(heat: np.ndarray) -> float:
    count = max(1, round(heat.size / 10))
    strongest = np.sort(heat, axis=None)[-count:]  # partitioning many zeros takes 25 times as long
    return float(strongest.sum(dtype=np.float64) / heat.sum(dtype=np.float64))


def _border(heat: np.ndarray) -> float:
    rows, columns = (max(1, round(side * RIM)) for side in heat.shape)
    inner = heat[rows : heat.shape[0] - rows, columns : heat.shape[1] - columns]
    return float(1 - inner.sum(dtype=np.float64) / heat.sum(dtype=np.float64))
