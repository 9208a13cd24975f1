"""The leak meter: the score on test images that look like training images, and on those that do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlight.metrics.intervals import Interval, interval
from kdlight.metrics.report import Measured
from kdlight.metrics.scores import balanced_accuracy


class TwinScore(Measured):
    """Balanced accuracy of one model, 0 to 1; None where there is no such image."""

    with_twin: Interval | None
    without_twin: Interval | None
    at_random: float | None
    """What a split drawn image by image would have claimed: both, weighed by `TwinScores.share_at_random`."""


class TwinScores(Measured):
    """Near-twins are told by `kdlight.data.twins`."""

    n: int
    """Test images that have a near-twin among the training images."""
    of: int
    """Test images."""
    share_at_random: float
    """Of test images that would have one if the split were drawn image by image."""
    models: dict[str, TwinScore]


def twin_scores(
    probabilities: Mapping[Any, np.ndarray],
    labels: NDArray[np.int64],
    groups: Any,
    twins: NDArray[np.bool_],
    share_at_random: float,
) -> TwinScores:
    """probabilities (N, K) by model; labels, groups and twins (N,): whether an image has a near-twin in training."""

    def part(p: np.ndarray, rows: NDArray[np.bool_]) -> Interval | None:
        return interval(balanced_accuracy, p[rows], labels[rows], np.asarray(groups)[rows]) if rows.any() else None

    def score(p: np.ndarray) -> TwinScore:
        seen, new = part(p, twins), part(p, ~twins)
        claimed = None
        if seen is not None and new is not None:
            claimed = share_at_random * seen.value + (1 - share_at_random) * new.value
        return TwinScore(with_twin=seen, without_twin=new, at_random=claimed)

    models = {str(name): score(p) for name, p in probabilities.items()}
    return TwinScores(n=int(twins.sum()), of=len(twins), share_at_random=share_at_random, models=models)
