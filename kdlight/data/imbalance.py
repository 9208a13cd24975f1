"""Classes of different size: weights for the loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kdlight.data.dataset import DataError

BALANCES = ("none", "balanced", "effective")
BETA = 0.999
"""Of the effective number of samples: an image beyond the thousandth adds little."""


def class_weights(labels: np.ndarray, mode: str, classes: int | None = None) -> NDArray[np.float64]:
    """A weight per class (K,) for the task loss, from the training labels int64 (N,).

    none: 1 for each. balanced: N / (K n_c), so that every class has the same say (scikit-learn's "balanced").
    effective: proportional to (1 - b) / (1 - b^n_c), b = 0.999, summing to K (Cui et al., CVPR 2019), milder where a
    class has thousands. `classes` is K; without it the highest label decides. Raises DataError for an unknown mode or a
    class without an image: it cannot be learned.
    """
    if mode not in BALANCES:
        raise DataError(f"Unknown balance {mode!r}; one of {', '.join(BALANCES)} was expected.")
    counts = np.bincount(labels, minlength=classes or 0)
    if not len(counts) or not counts.all():
        missing = ", ".join(str(c) for c in np.flatnonzero(counts == 0)) or "any class"
        raise DataError(f"There is no training image of class number {missing}; add some, or leave the class out.")
    k = len(counts)
    if mode == "none":
        return np.ones(k)
    if mode == "balanced":
        return np.asarray(counts.sum() / (k * counts))
    rarity = (1 - BETA) / (1 - BETA**counts)
    return np.asarray(rarity * k / rarity.sum())
