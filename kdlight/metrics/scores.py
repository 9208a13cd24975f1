"""Scores of predicted probabilities against the truth.

Each is a function of weights, how many times each image counts: ones give the value, and a thousand bootstrap draws are
a thousand rows of one matrix product. Undefined values are NaN inside and None outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ECE_BINS = 15


class MetricError(ValueError):
    """Probabilities, labels or groups that do not belong together."""


def checked(probabilities: Any, labels: Any) -> tuple[Floats, Ints]:
    """As float64 (N, K) and int64 (N,). Raises MetricError unless rows are probabilities and labels index them."""
    p = np.asarray(probabilities, dtype=np.float64)
    y = np.asarray(labels)
    if p.ndim != 2 or y.shape != p.shape[:1] or not len(y):
        raise MetricError(f"Probabilities are {p.shape} and labels {y.shape}; (N, K) and (N,), N > 0, were expected.")
    if not np.isfinite(p).all() or p.min() < 0 or abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise MetricError("Probabilities that sum to 1 in each row were expected; apply a softmax to logits first.")
    if y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= p.shape[1]:
        raise MetricError(f"Labels are {y.dtype} {y.min()} to {y.max()}; whole numbers 0 to {p.shape[1] - 1} expected.")
    return p, y.astype(np.int64)


@dataclass(frozen=True, slots=True)
class Score:
    """One number from probabilities (N, K) and labels (N,): `score(p, y)` is its value, None where undefined."""

    name: str
    weighted: Callable[[Floats, Ints, Floats], Floats]
    """(p (N, K), y (N,), weights (D, N)) to one value per row of weights (D,), NaN where undefined."""

    def __call__(self, probabilities: Any, labels: Any) -> float | None:
        """Raises MetricError on input that does not belong together."""
        p, y = checked(probabilities, labels)
        value = float(self.weighted(p, y, np.ones((1, len(y))))[0])
        return None if math.isnan(value) else value


def counts(p: Floats, y: Ints, weights: Floats) -> Floats:
    """Confusion matrices (D, K, K): truth in rows, prediction in columns."""
    k = p.shape[1]
    cell = np.zeros((len(y), k * k))
    cell[np.arange(len(y)), y * k + p.argmax(axis=1)] = 1
    return np.asarray(weights @ cell).reshape(-1, k, k)


def ratio(part: Floats, whole: Floats) -> Floats:
    """part / whole, NaN where the whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0))


def recalls(p: Floats, y: Ints, weights: Floats) -> Floats:
    """(D, K): of the images of each class, the share that is recognized (sensitivity)."""
    c = counts(p, y, weights)
    return ratio(np.einsum("dkk->dk", c), c.sum(axis=2))


def specificities(p: Floats, y: Ints, weights: Floats) -> Floats:
    """(D, K): of the images of other classes, the share that is not called this class."""
    c = counts(p, y, weights)
    others = c.sum(axis=(1, 2))[:, None] - c.sum(axis=2)
    false_alarms = c.sum(axis=1) - np.einsum("dkk->dk", c)
    return ratio(others - false_alarms, others)


def _auc(score: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """(D,): the chance that a positive image scores higher than a negative one; ties count half."""
    order = np.argsort(score, kind="stable")
    ranked = weights[:, order]
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))  # the first of each run of equal scores
    hits = np.add.reduceat(ranked * positive[order], starts, axis=1)  # (D, distinct scores)
    misses = np.add.reduceat(ranked * ~positive[order], starts, axis=1)
    below = np.cumsum(misses, axis=1) - misses / 2
    return ratio(np.einsum("du,du->d", hits, below), hits.sum(axis=1) * misses.sum(axis=1))


def _accuracy(p: Floats, y: Ints, weights: Floats) -> Floats:
    return ratio(weights @ (p.argmax(axis=1) == y).astype(np.float64), weights.sum(axis=1))


def _balanced_accuracy(p: Floats, y: Ints, weights: Floats) -> Floats:
    return np.asarray(recalls(p, y, weights)[:, np.unique(y)].mean(axis=1))


def _macro_auc(p: Floats, y: Ints, weights: Floats) -> Floats:
    present = np.unique(y)
    if len(present) < 2:
        return np.full(len(weights), np.nan)
    return np.asarray(np.mean([_auc(p[:, k], y == k, weights) for k in present], axis=0))


def _macro_f1(p: Floats, y: Ints, weights: Floats) -> Floats:
    c = counts(p, y, weights)
    named = c.sum(axis=1) + c.sum(axis=2)
    f1 = ratio(2 * np.einsum("dkk->dk", c), named)
    return ratio(np.nansum(f1, axis=1), (named > 0).sum(axis=1).astype(np.float64))


def _ece(p: Floats, y: Ints, weights: Floats) -> Floats:
    confidence = p.max(axis=1)
    gap = (p.argmax(axis=1) == y) - confidence
    cell = np.zeros((len(y), ECE_BINS))
    cell[np.arange(len(y)), bin_of(confidence)] = gap
    return ratio(np.abs(weights @ cell).sum(axis=1), weights.sum(axis=1))


def bin_of(confidence: Floats, bins: int = ECE_BINS) -> Ints:
    """Index of the equal-width bin (low, high] of [0, 1] that holds each value; 0 falls into the first."""
    edges = np.linspace(0, 1, bins + 1)
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)


def _brier(p: Floats, y: Ints, weights: Floats) -> Floats:
    missed = p.copy()
    missed[np.arange(len(y)), y] -= 1
    return ratio(weights @ (missed**2).sum(axis=1), weights.sum(axis=1))


def _log_loss(p: Floats, y: Ints, weights: Floats) -> Floats:
    surprise = -np.log(np.maximum(p[np.arange(len(y)), y], np.finfo(np.float64).tiny))
    return ratio(weights @ surprise, weights.sum(axis=1))


accuracy = Score("accuracy", _accuracy)
"""Share of images whose top class is right, 0 to 1."""
balanced_accuracy = Score("balanced_accuracy", _balanced_accuracy)
"""Mean recall of the classes that have images, 0 to 1."""
auc = Score("auc", _macro_auc)
"""Mean over the classes that have images of one-against-rest AUC, 0 to 1, ties half."""
macro_f1 = Score("macro_f1", _macro_f1)
"""Mean F1 of the classes that have images or predictions, 0 to 1."""
ece = Score("ece", _ece)
"""Expected calibration error of the top class, ECE_BINS equal bins (Guo et al. 2017), 0 to 1, lower is better."""
brier = Score("brier", _brier)
"""Brier score summed over classes (Brier 1950), 0 to 2, lower is better."""
log_loss = Score("log_loss", _log_loss)
"""Mean negative log probability of the truth, in nats, lower is better."""

SCORES: dict[str, Score] = {s.name: s for s in (accuracy, balanced_accuracy, auc, macro_f1, ece, brier, log_loss)}
"""By name, in the order in which they are reported."""
