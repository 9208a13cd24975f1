"""What a smaller file changes: decisions first, then probabilities, scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdlight.metrics import report
from kdlight.metrics.intervals import Interval, wilson
from kdlight.metrics.report import Measured


class Flips(Measured):
    """Images on which the top classes of two files differ."""

    count: int
    images: tuple[int | str, ...] = ()
    """Their rows, or their names."""
    share: Interval
    """With its 95 % interval (Wilson, which takes images as independent)."""


class Comparison(Measured):
    """Two files on the same images."""

    n: int
    flips: Flips
    probability_change: float
    """The largest difference of a calibrated probability, 0 to 1."""
    balanced_accuracy: dict[str, Interval | None]
    """Of `source` and `small`, with 95 % intervals."""


def compare(source: np.ndarray, small: np.ndarray, labels: np.ndarray, groups: Any = None) -> Comparison:
    """Two files' calibrated probabilities (N, K) on the same images with their labels (N,), over groups (N,) if given.

    Raises ValueError where the two do not belong to the same images.
    """
    if source.shape != small.shape or len(source) != len(labels) or not len(labels):
        raise ValueError(f"Probabilities of {source.shape} and {small.shape} for {len(labels)} images do not fit.")
    flipped = np.flatnonzero(source.argmax(axis=1) != small.argmax(axis=1))
    share = wilson(len(flipped) / len(labels), len(labels))
    names, files = [str(k) for k in range(source.shape[1])], {"source": source, "small": small}
    return Comparison(
        n=len(labels),
        flips=Flips(count=len(flipped), images=tuple(flipped.tolist()), share=share),
        probability_change=float(np.abs(source - small).max()),
        balanced_accuracy={name: report(p, labels, names, groups).balanced_accuracy for name, p in files.items()},
    )
