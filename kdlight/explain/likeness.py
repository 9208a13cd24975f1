"""How alike two heat maps of one image are, on one grid."""

from __future__ import annotations

import numpy as np
import PIL.Image

from kdlight.contracts.map_likeness import MapLikeness

TOP = 0.2
"""Share of the places of a map that are its strongest part."""
GRID = 32
"""Side of the grid on which two maps are compared: finer than the cells of any of them, and quick to sort."""


def likeness(first: np.ndarray, second: np.ndarray) -> MapLikeness | None:
    """Of maps (h, w) in [0, 1] over one image, each averaged to GRID x GRID places; None where one is flat.

    Raises ValueError if the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"The maps are {first.shape} and {second.shape}; one shape was expected. Make both alike.")
    from scipy.stats import rankdata  # type: ignore[import-untyped, unused-ignore]

    grids = [on_grid(values).ravel() for values in (first, second)]
    if any(np.ptp(values) == 0 for values in grids):
        return None
    ranks = [rankdata(values) for values in grids]
    shared = np.minimum(*map(_strongest, ranks)).sum() / (TOP * GRID * GRID)
    return MapLikeness(float(np.corrcoef(*ranks)[0, 1]), min(1.0, float(shared)))


def on_grid(heat: np.ndarray) -> np.ndarray:
    """A map (h, w) averaged, or where it is smaller interpolated, to (GRID, GRID)."""
    return np.asarray(PIL.Image.fromarray(heat.astype(np.float32)).resize((GRID, GRID), PIL.Image.Resampling.BOX))


def _strongest(ranks: np.ndarray) -> np.ndarray:
    """How far each place is among the strongest TOP, 0 to 1: those that tie at the limit share what is left."""
    _, inverse, sizes = np.unique(-ranks, return_inverse=True, return_counts=True)
    before = np.cumsum(sizes) - sizes
    return np.asarray((np.clip(TOP * len(ranks) - before, 0, sizes) / sizes)[inverse])
