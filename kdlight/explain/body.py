"""Where the body is in a picture, and how much of a map lies beside it: on air, a border, or a marker."""

from __future__ import annotations

import numpy as np

AIR = 0.06
"""Of the range from the darkest to the brightest pixel: what is darker, and joined to the border, is air. Ours."""
LEAST = 0.1
"""Share of the picture below which what was found is no body. Ours."""


def body(picture: np.ndarray) -> np.ndarray | None:
    """Of a gray picture (h, w) that shows air as dark: bool (h, w), the largest part that is no air, holes filled.

    None where it is too small to be one. Dark parts inside, as lungs, belong to the body.
    """
    from scipy import ndimage  # type: ignore[import-untyped, unused-ignore]

    low, high = float(picture.min()), float(picture.max())
    solid = ndimage.binary_opening(picture > low + AIR * (high - low), iterations=1)
    labels, count = ndimage.label(ndimage.binary_fill_holes(solid))
    if not count:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    found = ndimage.binary_dilation(labels == 1 + int(sizes.argmax()))
    return found if found.mean() >= LEAST else None


def outside(heat: np.ndarray, picture: np.ndarray) -> float | None:
    """Share of a map (h, w), 0 to 1, beside the body of a gray picture (h, w); None where there is no telling."""
    inside = body(picture)
    if inside is None or not heat.any():
        return None
    return float(heat[~inside].sum(dtype=np.float64) / heat.sum(dtype=np.float64))
