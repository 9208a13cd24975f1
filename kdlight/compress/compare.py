"""What a smaller file changes: decisions first, then probabilities, scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdlight.metrics import report
from kdlight.metrics.intervals import Interval, wilson


def compare(source: np.ndarray, small: np.ndarray, labels: np.ndarray, groups: Any = None) -> dict[str, Any]:
    """Two files' calibrated probabilities (N, K) on the same images with their labels (N,): JSON-ready.

    flips: images on which the top classes differ, their count, and their share with its 95 % interval (Wilson, which
    takes images as independent); probability_change: the largest difference, 0 to 1; balanced_accuracy of both with
    95 % intervals, over groups (N,) where given. Raises ValueError where the two do not belong to the same images.
    """
    if source.shape != small.shape or len(source) != len(labels) or not len(labels):
        raise ValueError(f"Probabilities of {source.shape} and {small.shape} for {len(labels)} images do not fit.")
    flipped = np.flatnonzero(source.argmax(axis=1) != small.argmax(axis=1))
    share = wilson(len(flipped) / len(labels), len(labels))
    names = [str(k) for k in range(source.shape[1])]
    found = {name: report(p, labels, names, groups) for name, p in (("source", source), ("small", small))}
    return {
        "n": len(labels),
        "flips": {"count": len(flipped), "images": flipped.tolist(), "share": share.to_json()},
        "probability_change": float(np.abs(source - small).max()),
        "balanced_accuracy": {name: _json(measured.balanced_accuracy) for name, measured in found.items()},
    }


def _json(interval: Interval | None) -> dict[str, float | None] | None:
    return interval.to_json() if interval else None
