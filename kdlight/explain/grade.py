"""How far a heat map can be trusted: what is measured of it, and what it must reach.

Gain: the image without what the map marks, and with nothing else, against the same for the map laid elsewhere (deletion
and insertion: Petsiuk et al., BMVC 2018, https://arxiv.org/abs/1806.07421); what is taken away is blurred. Likeness to
maps of random weights: Adebayo et al., see `randomized`. Which of these a map must pass, and by what limits, was chosen
by how well they tell maps of trained networks from those of random ones: docs/trust.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from kdlight.contracts.map_grade import MapFault, MapGrade, MapLimits, MapMeasures
from kdlight.explain.base import explain
from kdlight.explain.body import outside

if TYPE_CHECKING:
    from torch import Tensor, nn

SHARES = (0.1, 0.3, 0.5)
"""Of the image that are blurred away, or left."""
BLUR = 0.1
"""Standard deviation of the blur, in sides of the input."""
MOVED = 4
"""Random maps: the map itself, laid elsewhere."""
STEP = 2
"""Pixels that the image is moved by."""
NOISE = 0.1
"""Deviation of the noise, in deviations of the training images: some 6 of 255 gray levels."""
ALIKE = 0.7
"""Likeness to the map of random weights at which half of what a map shows (r squared) is not the model's. Ours."""

Probability = Callable[["Tensor"], np.ndarray]
"""Of one class, (B,), for prepared inputs x (B, C, h, w)."""


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """A map over an input, and how it was made."""

    model: nn.Module
    x: Tensor
    """(1, C, h, w)."""
    class_index: int
    method: str
    options: Mapping[str, Any]
    heat: np.ndarray
    """(h, w) in [0, 1]."""

    def again(self, x: Tensor | None = None, model: nn.Module | None = None) -> np.ndarray:
        """The map of another input or another network."""
        asked = (model or self.model, self.x if x is None else x, self.class_index, self.method)
        return explain(*asked, **self.options)


def measured(one: Mapped, probability: Probability, mirror: bool, air: bool) -> MapMeasures | None:
    """All that is measured of a map; None of a flat one. mirror: sides mean nothing. air: dark is beside the body."""
    import torch

    from kdlight.explain.randomized import SHARES as CASCADE
    from kdlight.explain.randomized import randomized

    if flat(one.heat):
        return None
    deletion, insertion = gains(one.heat, one.x, probability)
    twins = [one.again(model=randomized(one.model, share, one.x.shape[-1])) for share in CASCADE]
    noise = NOISE * torch.randn(one.x.shape, generator=torch.Generator().manual_seed(0))
    mirrored = one.again(torch.flip(one.x, (3,)))[:, ::-1] if mirror else None
    return MapMeasures(
        (deletion + insertion) / 2,
        deletion,
        insertion,
        likeness(one.heat, twins[0]),
        likeness(one.heat, twins[1]),
        likeness(one.heat, twins[2]),
        shift=stability(one),
        noise=likeness(one.heat, one.again(one.x + noise)),
        mirror=None if mirrored is None else likeness(one.heat, mirrored),
        outside=outside(one.heat, one.x[0].mean(0).numpy()) if air else None,
    )


def judged(measures: MapMeasures | None, limits: MapLimits | None) -> MapGrade:
    """Hold what was measured (None: a flat map) against a bundle's limits, None where there are none."""
    if measures is None:
        return MapGrade(None, ("flat",), limits, False)
    faults: list[MapFault] = []
    if limits is not None:
        faults += ["unstable"] if measures.shift < limits.shift else []
        faults += ["unsupported"] if measures.gain < limits.gain else []
        faults += ["model_blind"] if measures.random_weights >= ALIKE else []
    return MapGrade(measures, tuple(faults), limits, None if limits is None else not faults)


def words(grade: MapGrade | None, flat: bool) -> str:
    """What a grade says, for a reader who knows no statistics; empty where nobody measured."""
    if flat:
        return "Flat: the map has no contrast, so nothing can be read from it."
    if grade is None or grade.measures is None:
        return ""
    found, limits = grade.measures, grade.limits
    aside = "" if found.outside is None else f" {found.outside:.0%} of it lies outside the body."
    if limits is None:
        known = f"gain {found.gain:.2f}, likeness {found.shift:.2f} when the image is moved"
        return f"Not judged: this bundle has no limits for such a map ({known}).{aside}"
    if not grade.faults:
        return (
            f"Passed: the answer hangs on what the map marks (gain {found.gain:.2f}), and the map stays when the image "
            f"is moved (likeness {found.shift:.2f}).{aside}"
        )
    why = {
        "unstable": f"it changes when the image is moved by {STEP} pixels (likeness {found.shift:.2f}, at least "
        f"{limits.shift:.2f} was expected)",
        "unsupported": f"the answer hangs on what it marks little more than on other parts (gain {found.gain:.2f}, at "
        f"least {limits.gain:.2f} was expected)",
        "model_blind": f"random weights give much the same map (likeness {found.random_weights:.2f}, less than "
        f"{ALIKE:.2f} was expected)",
    }
    return f"Failed: {why[grade.faults[0]]}. Do not read anything from it.{aside}"


def gains(heat: np.ndarray, x: Tensor, probability: Probability) -> tuple[float, float]:
    """Deletion and insertion of a map (h, w) over x (1, C, h, w): see `MapMeasures`."""
    import torch

    picture = x[0].numpy()
    blurred = _blurred(picture, BLUR, "reflect")
    ranks = _ranks(heat)
    orders = [ranks, *_elsewhere(ranks)]
    parts = np.stack([order >= 1 - share for order in orders for share in SHARES])[:, None]
    answers = probability(
        torch.from_numpy(np.concatenate([np.where(parts, blurred, picture), np.where(parts, picture, blurred)]))
    )
    without, alone = answers.astype(np.float64).reshape(2, len(orders), len(SHARES)).mean(axis=2)
    return float(without[1:].mean() - without[0]), float(alone[0] - alone[1:].mean())


def stability(one: Mapped) -> float:
    """Mean likeness to the maps of the image moved down and right, and up and left, by STEP pixels, moved back."""
    height, width = one.heat.shape
    found = []
    for step in (STEP, -STEP):
        rows, columns = (np.clip(np.arange(side) - step, 0, side - 1) for side in (height, width))
        moved = one.again(one.x[:, :, rows][:, :, :, columns])
        back = np.roll(moved, (-step, -step), (0, 1))
        found.append(likeness(one.heat[STEP:-STEP, STEP:-STEP], back[STEP:-STEP, STEP:-STEP]))
    return float(np.mean(found))


def flat(heat: np.ndarray) -> bool:
    return not np.isfinite(heat).all() or float(np.ptp(heat)) == 0


def similarity(a: np.ndarray, b: np.ndarray) -> float | None:
    """Pearson correlation of two maps of one shape, -1 to 1; None where one is flat.

    Raises ValueError if the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"The maps are {a.shape} and {b.shape}; one shape was expected. Make both for one image.")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.clip(np.corrcoef(a.ravel(), b.ravel(), dtype=a.dtype)[0, 1], -1.0, 1.0))


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """`similarity`, 0 where one is flat."""
    return similarity(a, b) or 0.0


def _elsewhere(ranks: np.ndarray) -> list[np.ndarray]:
    """The same ranks laid elsewhere: moved by a quarter to three quarters of the side, some mirrored or turned."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(MOVED):
        moves = tuple(int(rng.integers(side // 4, side - side // 4 + 1)) for side in ranks.shape)
        moved = np.roll(ranks, moves, (0, 1))
        found.append(moved[:: 1 - 2 * (number % 2), :: 1 - 2 * (number // 2 % 2)])
    return found


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
