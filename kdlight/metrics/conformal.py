"""Prediction sets that hold the truth as often as they promise, by split conformal prediction.

A class's score says how odd it would be as the truth; it is in the set where its score is at most a threshold, which
images that chose nothing else have set. LAC scores 1 - p (Sadinle, Lei & Wasserman, JASA 2019); APS the summed
probability of the classes at least as likely (Romano, Sesia & Candès, NeurIPS 2020), without its random part, so that
one image always has the same set: rather too wide. Class-conditional ("Mondrian") thresholds, each of its class's
images alone, keep the promise within every class (Vovk, ACML 2012). Images of one group share one weight (Lee, Barber &
Willett 2023, https://arxiv.org/abs/2306.06342), so the promise is about an image of a new patient.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kdlight.metrics.scores import Floats, MetricError, checked

ScoreKind = Literal["lac", "aps"]
SetKind = Literal["lac", "aps", "class_lac", "class_aps"]
"""A score, its threshold set on all images or on each class's own."""
SET_KINDS: tuple[SetKind, ...] = get_args(SetKind)


def score_of(kind: SetKind) -> ScoreKind:
    return "aps" if kind in ("aps", "class_aps") else "lac"


def conformity(probabilities: Any, kind: ScoreKind) -> Floats:
    """The score (N, K), 0 to 1, of every class as the truth; probabilities (N, K)."""
    p = np.asarray(probabilities, dtype=np.float64)
    if kind == "lac":
        return np.asarray(1 - p)
    order = np.argsort(-p, axis=1, kind="stable")
    scores = np.empty_like(p)
    np.put_along_axis(scores, order, np.take_along_axis(p, order, axis=1).cumsum(axis=1), axis=1)
    return np.minimum(scores, 1)


def conformal_threshold(scores: Any, alpha: float = 0.1, groups: Any = None) -> float | None:
    """The threshold of sets that miss the truth of a new image with chance alpha at most; None where units are too few.

    scores (N,): of the true class of each calibration image; groups (N,): what belongs together, each image if None.
    It is the smallest score below which lies a weight of 1 - alpha, each of G groups having 1 / (G + 1) and the rest
    lying at infinity: G / (G + 1) must reach 1 - alpha (9 groups for alpha = 0.1). Raises MetricError for an alpha that
    is no share between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise MetricError(f"Alpha is {alpha}; a share of misses between 0 and 1 was expected, such as 0.1.")
    s = np.asarray(scores, dtype=np.float64)
    if not len(s):
        return None
    _, unit, sizes = np.unique(
        np.arange(len(s)) if groups is None else np.asarray(groups), return_inverse=True, return_counts=True
    )
    order = np.argsort(s, kind="stable")
    weight = np.cumsum(1 / sizes[unit[order]]) / (len(sizes) + 1)
    rank = int(np.searchsorted(weight, 1 - alpha - 1e-9))
    return float(s[order[rank]]) if rank < len(s) else None


def least_units(alpha: float) -> int:
    """How many calibration images (or groups) a promise of 1 - alpha needs: n / (n + 1) >= 1 - alpha."""
    return math.ceil((1 - alpha) / alpha - 1e-9)


def conformal_qhat(probabilities: Any, labels: Any, alpha: float = 0.1, groups: Any = None) -> float:
    """The LAC threshold of all images, 0 to 1; 1, which is every class, where they are too few for the promise."""
    p, y = checked(probabilities, labels)
    found = conformal_threshold(conformity(p, "lac")[np.arange(len(y)), y], alpha, groups)
    return 1.0 if found is None else found


def prediction_sets(probabilities: Any, thresholds: Any, kind: ScoreKind = "lac") -> NDArray[np.bool_]:
    """(N, K): the classes whose score is at most their threshold, and always the top class, so that no set is empty.

    thresholds: one for all classes, or (K,). Written as score <= threshold, as the threshold was made: p >= 1 -
    threshold can lose the bordering image to rounding.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    chosen: NDArray[np.bool_] = conformity(p, kind) <= np.asarray(thresholds, dtype=np.float64)
    chosen[np.arange(len(p)), p.argmax(axis=1)] = True
    return chosen
