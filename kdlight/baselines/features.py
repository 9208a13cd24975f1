"""Handcrafted features of a picture, by scikit-image: uint8 RGB (S, S, 3) to a vector of float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

GRID = 8
"""HOG: cells along each side."""
CIRCLES = ((8, 1), (16, 2))
"""LBP: (points, radius in pixels)."""
LEVELS = 32
"""GLCM: gray levels."""
DISTANCES = (1, 2, 4)
"""GLCM: pixels."""
TEXTURE = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "entropy")
PERCENTILES = (5, 25, 50, 75, 95)


def handcrafted(pixels: Pixels) -> Floats:
    """All of FEATURES in one vector."""
    return np.concatenate([extract(pixels) for extract in FEATURES.values()])


def gray(pixels: Pixels) -> Floats:
    """Luma (ITU-R BT.601) in [0, 255]: (S, S)."""
    return np.asarray(pixels @ np.array([0.299, 0.587, 0.114]))


def hog(pixels: Pixels) -> Floats:
    """Histograms of oriented gradients (Dalal and Triggs, CVPR 2005): 9 orientations, L2-Hys over 2 x 2 cells."""
    from skimage.feature import hog

    cell = len(pixels) // GRID
    inner = gray(pixels)[: cell * GRID, : cell * GRID] / 255
    return np.asarray(hog(inner, pixels_per_cell=(cell, cell), cells_per_block=(2, 2), block_norm="L2-Hys"))


def lbp(pixels: Pixels) -> Floats:
    """Shares of rotation-invariant uniform local binary patterns (Ojala et al., PAMI 2002), P + 2 for each circle.

    Pixels whose circle leaves the picture are left out.
    """
    from skimage.feature import local_binary_pattern

    picture = np.round(gray(pixels)).astype(np.uint8)
    shares = []
    for points, radius in CIRCLES:
        edge = slice(radius + 1, -radius - 1)
        patterns = local_binary_pattern(picture, points, radius, "uniform")[edge, edge].astype(int)
        shares.append(np.bincount(patterns.ravel(), minlength=points + 2) / patterns.size)
    return np.concatenate(shares)


def glcm(pixels: Pixels) -> Floats:
    """Gray-level co-occurrence (Haralick et al. 1973): mean and range of TEXTURE over four directions.

    (2 * len(TEXTURE) * len(DISTANCES),).
    """
    from skimage.feature import graycomatrix, graycoprops

    levels = (gray(pixels) * (LEVELS / 256)).astype(np.uint8).clip(0, LEVELS - 1)
    angles = np.arange(4) * np.pi / 4
    matrices = graycomatrix(levels, DISTANCES, angles, LEVELS, symmetric=True, normed=True)
    values = np.stack([graycoprops(matrices, name) for name in TEXTURE])  # (TEXTURE, DISTANCES, 4)
    return np.concatenate([values.mean(axis=2), np.ptp(values, axis=2)]).T.ravel()


def intensity(pixels: Pixels) -> Floats:
    """Of red, green, blue and gray: mean, deviation, skewness, kurtosis, entropy (bits), PERCENTILES; (40,)."""
    return np.concatenate([_statistics(channel.ravel()) for channel in (*np.moveaxis(pixels, 2, 0), gray(pixels))])


def _statistics(values: Floats) -> Floats:
    from skimage.measure import shannon_entropy

    z = (values - values.mean()) / max(values.std(), 1e-9)
    moments = [values.mean(), values.std(), (z**3).mean(), (z**4).mean(), shannon_entropy(np.round(values))]
    return np.concatenate([moments, np.percentile(values, PERCENTILES)])


FEATURES: dict[str, Callable[[Pixels], Floats]] = {"hog": hog, "lbp": lbp, "glcm": glcm, "intensity": intensity}
