"""Tables and curves behind the scores: confusion, ROC, reliability."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdlight.metrics.scores import ECE_BINS, Floats, Ints, MetricError, bin_of, checked, counts, ratio


def confusion_matrix(probabilities: Any, labels: Any) -> Ints:
    """Counts (K, K): truth in rows, top class in columns."""
    p, y = checked(probabilities, labels)
    return np.asarray(np.rint(counts(p, y, np.ones((1, len(y))))[0]), dtype=np.int64)


def roc_curve(scores: Any, positive: Any) -> tuple[Floats, Floats, Floats]:
    """(false positive rate, true positive rate, thresholds) of calling positive what scores >= the threshold.

    scores (N,) floats, positive (N,) booleans. Starts at (0, 0) with threshold inf; one point per distinct score.
    Raises MetricError where there is nothing positive or nothing negative: the curve is undefined then.
    """
    s, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if s.shape != truth.shape or s.ndim != 1 or truth.all() or not truth.any():
        raise MetricError(
            f"A ROC curve needs positive and negative images; {int(truth.sum())} of {truth.size} are positive here."
        )
    from sklearn.metrics import roc_curve

    false, true, thresholds = roc_curve(truth, s, drop_intermediate=False)
    return false, true, thresholds


def reliability_curve(probabilities: Any, labels: Any, bins: int = ECE_BINS) -> tuple[Floats, Floats, Ints]:
    """(mean confidence, accuracy, count) per bin of the top class's probability, each (bins,); NaN in empty bins."""
    p, y = checked(probabilities, labels)
    confidence = p.max(axis=1)
    cell: Floats = np.eye(bins)[bin_of(confidence, bins)]  # (N, bins)
    right = (p.argmax(axis=1) == y).astype(np.float64)
    size, hits, summed = cell.sum(axis=0), right @ cell, confidence @ cell
    return ratio(summed, size), ratio(hits, size), size.astype(np.int64)
