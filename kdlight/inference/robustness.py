"""Two models under every corruption at every severity, each against its own answers to the clean images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kdlight.contracts.reading import Role
from kdlight.metrics.robustness import CorruptionCost, corruption_cost

ASKED_AGAIN = 300
"""Images that are asked again, at most, for a card and for probes: fifteen times for each model by corruptions."""
Ask = Callable[[np.ndarray], np.ndarray]
"""Rendered pixels uint8 (N, S, S, 3) to calibrated probabilities (N, K)."""


def corruption_costs(
    ask: Mapping[Role, Ask],
    clean: Mapping[Role, np.ndarray],
    pixels: np.ndarray,
    labels: np.ndarray,
    groups: Any = None,
    progress: Callable[[float, str], None] = lambda *_: None,
) -> tuple[CorruptionCost, ...]:
    """What each of CORRUPTIONS costs at each of SEVERITIES; image i is corrupted by seed i, the same for both models.

    clean: both models' probabilities (N, K) of the pixels uint8 (N, S, S, 3) as they are; labels and groups (N,).
    """
    import torch

    from kdlight.preprocessing.corruptions import KINDS, SEVERITIES, corrupt

    costs, images = [], torch.from_numpy(pixels).permute(0, 3, 1, 2)
    settings = [(kind, severity) for kind in KINDS for severity in SEVERITIES]
    for done, (kind, severity) in enumerate(settings, 1):
        changed = torch.stack([corrupt(image, kind, severity, seed) for seed, image in enumerate(images)])
        seen = changed.permute(0, 2, 3, 1).contiguous().numpy()
        answers = {role: model(seen) for role, model in ask.items()}
        costs.append(corruption_cost(kind, severity, clean, answers, labels, groups))
        progress(done / len(settings), f"Corruption {done} of {len(settings)}")
    return tuple(costs)


def spread(labels: np.ndarray, most: int) -> np.ndarray:
    """Indices, rising, of at most `most` images: as many of each class where it has them, evenly spaced in the set.

    One of each class at least, whatever `most` is.
    """
    present = np.unique(labels)
    chosen = []
    for of in (np.flatnonzero(labels == one) for one in present):
        count = min(len(of), max(1, most // len(present)))
        chosen.append(of[np.arange(count) * len(of) // count])
    return np.sort(np.concatenate(chosen))
