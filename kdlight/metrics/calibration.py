"""Probabilities that mean what they say: temperature scaling and split-conformal prediction sets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def conformal_qhat(probabilities: Any, labels: Any, alpha: float = 0.1) -> float:
    """The threshold of split-conformal sets with score 1 - p(truth) (LAC; Sadinle et al., JASA 2019), 0 to 1.

    It is the ceil((n + 1)(1 - alpha))-th smallest score of n calibration images, and 1 (every class) where n is too
    small for that. New images of the same kind then hold the truth in their set with chance >= 1 - alpha.
    """
    if not 0 < alpha < 1:
        raise MetricError(f"Alpha is {alpha}; a share of misses between 0 and 1 was expected, such as 0.1.")
    p, y = checked(probabilities, labels)
    scores = np.sort(1 - p[np.arange(len(y)), y])
    rank = math.ceil((len(y) + 1) * (1 - alpha) - 1e-9)
    return float(scores[rank - 1]) if rank <= len(y) else 1.0


def prediction_sets(probabilities: Any, qhat: float) -> NDArray[np.bool_]:
    """(N, K): the classes with 1 - p <= qhat, and always the top class, so that no set is empty.

    Written as 1 - p <= qhat, as qhat was made: p >= 1 - qhat can lose the bordering image to rounding.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    chosen = (1 - p) <= qhat
    chosen[np.arange(len(p)), p.argmax(axis=1)] = True
    return chosen
