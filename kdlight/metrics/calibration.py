"""Probabilities that mean what they say: temperature scaling."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdlight.metrics.scores import Floats, MetricError, checked

TEMPERATURES = (0.2, 10.0)
"""Where a temperature is looked for; the limits are ours: perfect separation would drive it to 0."""


def softmax(logits: Any, temperature: float = 1.0) -> Floats:
    """Logits (N, K) to probabilities (N, K) in float64. Raises MetricError unless finite and temperature > 0."""
    z = np.asarray(logits, dtype=np.float64)
    if z.ndim != 2 or not np.isfinite(z).all() or not temperature > 0:
        raise MetricError(f"Expected finite logits (N, K) and a temperature above 0; got {z.shape} and {temperature}.")
    z = z / temperature
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_temperature(logits: Any, labels: Any) -> float:
    """The temperature, 0.2 to 10, that minimizes the log loss on held-back logits (N, K) (Guo et al., ICML 2017).

    The loss is convex in 1 / T, so its minimum is the only one. The top class never changes.
    """
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped, unused-ignore]
    from scipy.special import log_softmax  # type: ignore[import-untyped, unused-ignore]

    z = np.asarray(logits, dtype=np.float64)
    _, y = checked(softmax(z), labels)

    def loss(inverse: float) -> float:
        return -float(log_softmax(z * inverse, axis=1)[np.arange(len(y)), y].mean())

    best = minimize_scalar(loss, bounds=(1 / TEMPERATURES[1], 1 / TEMPERATURES[0]), method="bounded")
    return float(1 / best.x)
