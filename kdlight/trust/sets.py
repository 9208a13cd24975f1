"""The prediction sets of a pair: their thresholds set on images that chose nothing else, and held against others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlight.bundle import Card
from kdlight.bundle.fitted import ClassThreshold, Conformal, Threshold
from kdlight.contracts.reading import ROLES, Role
from kdlight.metrics import prediction_sets as within
from kdlight.metrics.conformal import SET_KINDS, ScoreKind, SetKind, conformal_threshold, conformity, score_of
from kdlight.metrics.coverage import SetCoverage, coverage
from kdlight.metrics.intervals import distinct

Coverages = dict[Role, tuple[SetCoverage, ...]]


def thresholds(
    probabilities: np.ndarray, labels: np.ndarray, groups: Any, classes: Sequence[str], alpha: float
) -> Threshold:
    """Of every kind of sets; calibrated probabilities (N, K), labels (N,) and groups (N,) of the calibration images."""
    scores: dict[ScoreKind, np.ndarray] = {
        kind: conformity(probabilities, kind)[np.arange(len(labels)), labels] for kind in ("lac", "aps")
    }

    def of(chosen: np.ndarray) -> dict[str, Any]:
        units = np.asarray(groups)[chosen]
        found: dict[str, Any] = {
            kind: conformal_threshold(values[chosen], alpha, units) for kind, values in scores.items()
        }
        return {"n": distinct(groups, chosen), **found}

    everything, by_class = of(labels >= 0), {name: of(labels == c) for c, name in enumerate(classes)}
    qhat = everything.pop("lac")
    return Threshold(
        qhat=1.0 if qhat is None else qhat,
        **everything,
        classes={name: ClassThreshold(**values) for name, values in by_class.items()},
    )


def prediction_sets(card: Card, role: Role, kind: SetKind, probabilities: np.ndarray) -> NDArray[np.bool_]:
    """(N, K), of calibrated probabilities (N, K). Raises ValueError where the card has no sets of this kind."""
    found = card.conformal.thresholds(role, kind, [entry.name for entry in card.classes])
    if found is None:
        raise ValueError(
            f"The card of {card.name} has no thresholds for {kind} sets; it was made before they were. "
            f"Leave the choice of sets out, or train the pair anew."
        )
    return within(probabilities, list(found.values()), score_of(kind))


def covered(
    conformal: Conformal, classes: Sequence[str], probabilities: Mapping[Any, np.ndarray], labels: Any, groups: Any
) -> Coverages:
    """Each kind of sets that a card has, on images that had no part in their thresholds; probabilities (N, K) by role.

    A card from before thresholds by class has the marginal ones of LAC alone.
    """
    return {
        role: tuple(
            coverage(probabilities[role], labels, found, kind, 1 - conformal.alpha, conformal.calibrated(role), groups)
            for kind in SET_KINDS
            if (found := conformal.thresholds(role, kind, classes)) is not None
        )
        for role in ROLES
    }
