"""Handcrafted features of a picture: uint8 RGB (S, S, 3) to a vector of float64.

Deep and handcrafted features with an SVM (arXiv 2101.07866): its abstract does not give them. Ours are HOG, LBP, GLCM
and intensity statistics, each as its own paper defines it, with the figures below.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

GRID = 8
"""HOG: cells along each side."""
ORIENTATIONS = 9
BLOCK = 2
"""HOG: cells along each side of a block."""
CIRCLES = ((8, 1), (16, 2))
"""LBP: (points, radius in pixels)."""
LEVELS = 32
"""GLCM: gray levels."""
DISTANCES = (1, 2, 4)
"""GLCM: pixels."""
STEPS = ((0, 1), (-1, 1), (-1, 0), (-1, -1))
"""GLCM: 0, 45, 90 and 135 degrees as (rows, columns)."""
PERCENTILES = (5, 25, 50, 75, 95)
LUMA = (0.299, 0.587, 0.114)


def handcrafted(pixels: Pixels) -> Floats:
    """All of FEATURES in one vector."""
    return np.concatenate([extract(pixels) for extract in FEATURES.values()])


def gray(pixels: Pixels) -> Floats:
    """Luma (ITU-R BT.601) in [0, 255]: (S, S)."""
    found: Floats = pixels.astype(np.float64) @ np.array(LUMA)
    return found


def hog(pixels: Pixels) -> Floats:
    """Histograms of oriented gradients (Dalal and Triggs, CVPR 2005): 9 unsigned orientations, L2-Hys over blocks.

    Central differences, zero at the border; each pixel votes with its gradient for one orientation of its own cell.
    """
    picture = gray(pixels) / 255
    down, across = np.zeros_like(picture), np.zeros_like(picture)
    down[1:-1] = picture[2:] - picture[:-2]
    across[:, 1:-1] = picture[:, 2:] - picture[:, :-2]
    size = len(picture) // GRID
    inner = slice(0, size * GRID)
    strength = np.hypot(down, across)[inner, inner]
    angle = (np.rad2deg(np.arctan2(down, across)) % 180)[inner, inner]
    bins = np.minimum((angle / (180 / ORIENTATIONS)).astype(int), ORIENTATIONS - 1)
    cell = np.arange(size * GRID) // size
    index = (cell[:, None] * GRID + cell) * ORIENTATIONS + bins
    cells = np.bincount(index.ravel(), strength.ravel(), GRID * GRID * ORIENTATIONS) / size**2
    cells = cells.reshape(GRID, GRID, ORIENTATIONS)
    places = range(GRID - BLOCK + 1)
    return np.concatenate([_hys(cells[r : r + BLOCK, c : c + BLOCK].ravel()) for r in places for c in places])


def _hys(block: Floats) -> Floats:
    """Normalized to length 1, cut at 0.2, normalized again."""
    epsilon = 1e-5
    block = np.minimum(block / np.sqrt((block**2).sum() + epsilon**2), 0.2)
    found: Floats = block / np.sqrt((block**2).sum() + epsilon**2)
    return found


def lbp(pixels: Pixels) -> Floats:
    """Shares of rotation-invariant uniform local binary patterns (Ojala et al., PAMI 2002), P + 2 for each circle.

    A circle's points are read by bilinear interpolation; pixels whose circle leaves the picture are left out.
    """
    picture = np.round(gray(pixels))
    return np.concatenate([_patterns(picture, points, radius) for points, radius in CIRCLES])


def _patterns(picture: Floats, points: int, radius: int) -> Floats:
    edge = radius + 1
    height, width = (side - 2 * edge for side in picture.shape)
    center = picture[edge:-edge, edge:-edge]
    higher = np.empty((points, height, width), dtype=bool)
    for number in range(points):
        angle = 2 * np.pi * number / points
        y, x = round(-radius * np.sin(angle), 5), round(radius * np.cos(angle), 5)
        row, column = int(np.floor(y)), int(np.floor(x))
        v, u = y - row, x - column
        part = picture[edge + row : edge + row + height + 1, edge + column : edge + column + width + 1]
        upper = (1 - u) * part[:-1, :-1] + u * part[:-1, 1:]
        lower = (1 - u) * part[1:, :-1] + u * part[1:, 1:]
        higher[number] = (1 - v) * upper + v * lower - center >= -1e-9
    changes = (higher != np.roll(higher, 1, axis=0)).sum(axis=0)
    pattern = np.where(changes <= 2, higher.sum(axis=0), points + 1)
    return np.bincount(pattern.ravel(), minlength=points + 2) / pattern.size


def glcm(pixels: Pixels) -> Floats:
    """Texture from gray-level co-occurrence (Haralick et al. 1973): mean and range over four directions.

    Contrast, dissimilarity, homogeneity, energy, correlation and entropy of the symmetric, normalized matrix, for each
    of DISTANCES; (len(DISTANCES) * 12,).
    """
    levels = (gray(pixels) * (LEVELS / 256)).astype(int).clip(0, LEVELS - 1)
    found = []
    for distance in DISTANCES:
        values = np.stack([haralick(cooccurrence(levels, distance * r, distance * c)) for r, c in STEPS])
        found += [values.mean(axis=0), np.ptp(values, axis=0)]
    return np.concatenate(found)


def cooccurrence(levels: NDArray[np.int64], down: int, across: int) -> Floats:
    """How often two levels lie (down, across) apart, symmetric, summing to 1: (LEVELS, LEVELS)."""
    height, width = levels.shape
    first = levels[max(0, -down) : height - max(0, down), max(0, -across) : width - max(0, across)]
    second = levels[max(0, down) : height - max(0, -down), max(0, across) : width - max(0, -across)]
    counts = np.bincount((first * LEVELS + second).ravel(), minlength=LEVELS**2).reshape(LEVELS, LEVELS)
    counts = counts + counts.T
    found: Floats = counts / counts.sum()
    return found


def haralick(p: Floats) -> Floats:
    """Contrast, dissimilarity, homogeneity, energy, correlation (1 if flat) and entropy (bits): (6,)."""
    i, j = np.indices(p.shape)
    apart = i - j
    mean = (p * i).sum()
    variance = (p * (i - mean) ** 2).sum()
    correlation = (p * (i - mean) * (j - mean)).sum() / variance if variance > 1e-12 else 1.0
    some = p[p > 0]
    return np.array(
        [
            (p * apart**2).sum(),
            (p * abs(apart)).sum(),
            (p / (1 + apart**2)).sum(),
            np.sqrt((p**2).sum()),
            correlation,
            -(some * np.log2(some)).sum(),
        ]
    )


def intensity(pixels: Pixels) -> Floats:
    """Of red, green, blue and gray: mean, deviation, skewness, kurtosis, entropy (bits), PERCENTILES; (40,)."""
    channels = [*np.moveaxis(pixels.astype(np.float64), 2, 0), gray(pixels)]
    return np.concatenate([_statistics(channel.ravel()) for channel in channels])


def _statistics(values: Floats) -> Floats:
    mean, deviation = values.mean(), values.std()
    z = (values - mean) / deviation if deviation > 1e-9 else np.zeros_like(values)
    shares = np.bincount(np.round(values).astype(int), minlength=256) / len(values)
    some = shares[shares > 0]
    moments = [mean, deviation, (z**3).mean(), (z**4).mean(), -(some * np.log2(some)).sum()]
    return np.concatenate([moments, np.percentile(values, PERCENTILES)])


FEATURES: dict[str, Callable[[Pixels], Floats]] = {"hog": hog, "lbp": lbp, "glcm": glcm, "intensity": intensity}
