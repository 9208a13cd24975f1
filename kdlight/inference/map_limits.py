"""What a bundle's heat maps must reach so that maps of random weights do not: learned on validation, measured on test.

A map must be as stable as all but one in twenty of the bundle's own, and have a larger gain than nearly all stable maps
of random weights: by a conformal bound (Vovk et al. 2005) at most MOST of new such maps pass. The choice of the two
measures and of this rule is ours, by measurement: docs/trust.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from kdlight.bundle import Bundle
from kdlight.bundle.maps import MapFigures, PassRates
from kdlight.contracts.map_grade import MapLimits
from kdlight.contracts.reading import ROLES, Role
from kdlight.explain.base import explain
from kdlight.explain.grade import Mapped, flat, gains, stability
from kdlight.explain.randomized import randomized
from kdlight.explain.registry import DEFAULT
from kdlight.explain.scoring import folded
from kdlight.inference.engines import TorchEngine, flushed_denormals
from kdlight.metrics import softmax
from kdlight.metrics.intervals import wilson

METHODS = (DEFAULT,)
IMAGES, NETWORKS = 20, 2
"""Of validation and of test, at most; networks with random weights for each, others for test than for validation."""
MOST = 0.04
"""Share of the maps of random weights that may pass."""
LEAST = 0.02
"""Gain, in probability, that is never too little to ask for: weights that were never trained answer every image alike,
with next to no gain, and next to none would be enough where that of random ones is below 0. Ours."""
UNSTABLE = 0.05
"""Share of a bundle's own maps that fail by their stability. Ours."""
FAILS = -2.0
"""Stands for both measures of a flat map; less than any."""


def map_figures(bundle: Bundle, splits: Mapping[str, np.ndarray]) -> tuple[MapFigures, ...]:
    """Limits and pass rates of METHODS. splits: train, val and test as the models see them, uint8 (N, S, S, 3)."""
    with flushed_denormals():
        return tuple(_figures(bundle, method, splits) for method in METHODS)


def _figures(bundle: Bundle, method: str, splits: Mapping[str, np.ndarray]) -> MapFigures:
    held, test = ({role: _tried(bundle, role, method, splits, name) for role in ROLES} for name in ("val", "test"))
    limits = chosen(*(np.concatenate([held[role][kind] for role in ROLES]) for kind in (0, 1)))
    rates = {role: _rates(limits, *test[role]) for role in ROLES}
    seen, tested = (len(one["student"][0]) for one in (held, test))
    return MapFigures(method=method, gain=limits.gain, shift=limits.shift, n=seen, tested=tested, passed=rates)


def chosen(own: np.ndarray, random: np.ndarray) -> MapLimits:
    """The stability that all but UNSTABLE of a bundle's maps have, and a gain that MOST of the random maps exceed.

    own (N, 2), random (M, 2): gain and stability. A gain below LEAST is never enough; too few random maps, nothing is.
    """
    shift = float(np.quantile(own[:, 1], UNSTABLE, method="lower"))
    gains_of_stable = np.sort(np.where(random[:, 1] >= shift, random[:, 0], FAILS))[::-1]
    allowed = int(MOST * (len(random) + 1))
    gain = max(LEAST, float(np.nextafter(gains_of_stable[allowed - 1], 2))) if allowed else 1.0
    return MapLimits(gain=min(1.0, gain), shift=max(-1.0, shift))


def _rates(limits: MapLimits, own: np.ndarray, random: np.ndarray) -> PassRates:
    maps, others = (float((of >= (limits.gain, limits.shift)).all(axis=1).mean()) for of in (own, random))
    return PassRates(maps=wilson(maps, len(own)), random=wilson(others, len(random)), random_n=len(random))


def _tried(
    bundle: Bundle, role: Role, method: str, splits: Mapping[str, np.ndarray], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Gain and stability of one model's maps (N, 2) and of maps of random weights (N * NETWORKS, 2) on one split."""
    model, temperature = folded(bundle.model(role)).requires_grad_(False), bundle.card.temperature(role)
    first = 1 + NETWORKS * (name == "test")
    drawn = [randomized(model, 1.0, bundle.spec.size, first + number) for number in range(NETWORKS)]
    x = bundle.spec.normalise(torch.from_numpy(at_most(splits[name], IMAGES).copy()))
    own, *random = (np.array([scored(net, one[None], temperature, method) for one in x]) for net in (model, *drawn))
    return own, np.concatenate(random)


def scored(model: nn.Module, x: Tensor, temperature: float, method: str) -> tuple[float, float]:
    """Gain and stability of the map of a model's own answer to x (1, 3, S, S)."""
    logits = TorchEngine(model)
    top = int(logits(x)[0].argmax())
    one = Mapped(model, x, top, method, {}, explain(model, x, top, method))
    if flat(one.heat):
        return FAILS, FAILS
    gain = float(np.mean(gains(one.heat, x, lambda batch: softmax(logits(batch), temperature)[:, top])))
    return gain, stability(one)


def at_most(pixels: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of them, spread over all."""
    spread = np.linspace(0, len(pixels) - 1, min(count, len(pixels)))
    return pixels[spread.round().astype(np.int64)]
