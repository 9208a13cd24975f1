"""What the student's features say of each image in a few numbers, so that sets of images can be compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdlight.trust import belonging
from kdlight.trust.belonging import Floats, Looks

REFERENCE = "reference"
"""In a bundle's belonging file: the summaries (R, S) of held-out images; older files have none."""
MOST = 400
"""Held-out images that are kept: 20 kB."""


def summaries(looks: Looks, stages: Sequence[np.ndarray]) -> Floats:
    """(N, 2 + 2 K) of features by stage, (N, C) each: distance, odds, each stage's level, each stage's spread."""
    features = np.concatenate(stages, axis=1)
    ends = np.cumsum([stage.shape[1] for stage in stages])[:-1]
    parts = np.split((features - looks["mean"]) / looks["deviation"], ends, axis=1)
    columns = [belonging.distances(looks, features), belonging.odds(looks, features)]
    columns += [part.mean(axis=1) for part in parts] + [np.abs(part).mean(axis=1) for part in parts]
    return np.stack(columns, axis=1).astype(np.float64)


def one_of_each(groups: np.ndarray) -> np.ndarray:
    """Index of the first image of each group (U,): images of one patient are alike, and a test takes them for news."""
    return np.sort(np.unique(groups, return_index=True)[1])
