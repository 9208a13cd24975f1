"""Handcrafted features against slow, separate computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kdlight.baselines import features


@pytest.fixture
def picture() -> np.ndarray:
    """uint8 (40, 40, 3): smooth waves with grain."""
    y, x = np.mgrid[:40, :40]
    base = 120 + 60 * np.sin(x / 5) + 40 * np.cos((x + 2 * y) / 9)
    noise = np.random.default_rng(0).normal(0, 12, (40, 40, 3))
    return np.clip(base[..., None] + noise, 0, 255).astype(np.uint8)


def test_hog_counts_gradients_one_pixel_after_the_other(picture: np.ndarray) -> None:
    luma = picture @ np.array([0.299, 0.587, 0.114]) / 255
    cells = np.zeros((8, 8, 9))
    for y, x in np.ndindex(40, 40):
        gy = luma[y + 1, x] - luma[y - 1, x] if 0 < y < 39 else 0.0
        gx = luma[y, x + 1] - luma[y, x - 1] if 0 < x < 39 else 0.0
        cells[y // 5, x // 5, int(np.degrees(np.arctan2(gy, gx)) % 180 // 20) % 9] += np.hypot(gx, gy) / 25
    expected = []
    for r, c in np.ndindex(7, 7):
        block = cells[r : r + 2, c : c + 2].ravel()
        block = np.minimum(block / np.sqrt(np.dot(block, block) + 1e-10), 0.2)
        expected.append(block / np.sqrt(np.dot(block, block) + 1e-10))
    np.testing.assert_allclose(features.hog(picture), np.concatenate(expected), atol=1e-6)


def test_hog_of_vertical_stripes_points_across_them() -> None:
    stripes = np.tile((np.arange(64) // 4 % 2 * 200).astype(np.uint8)[None, :, None], (64, 1, 3))
    found = features.hog(stripes).reshape(-1, 9)
    assert found[:, 0].sum() / found.sum() > 0.99


def riu2(picture: np.ndarray, points: int, radius: int) -> np.ndarray:
    """Ojala's definition, pixel by pixel."""
    luma = np.round(picture @ np.array([0.299, 0.587, 0.114]))
    counts, edge = np.zeros(points + 2), radius + 1
    for y in range(edge, 40 - edge):
        for x in range(edge, 40 - edge):
            signs = []
            for p in range(points):
                v = y + round(-radius * np.sin(2 * np.pi * p / points), 5)
                u = x + round(radius * np.cos(2 * np.pi * p / points), 5)
                r, c = int(np.floor(v)), int(np.floor(u))
                a, b = v - r, u - c
                value = (1 - a) * ((1 - b) * luma[r, c] + b * luma[r, c + 1])
                value += a * ((1 - b) * luma[r + 1, c] + b * luma[r + 1, c + 1])
                signs.append(value - luma[y, x] >= -1e-9)
            changes = sum(signs[p] != signs[p - 1] for p in range(points))
            counts[sum(signs) if changes <= 2 else points + 1] += 1
    return counts / counts.sum()


def test_lbp_is_what_its_definition_says(picture: np.ndarray) -> None:
    expected = np.concatenate([riu2(picture, 8, 1), riu2(picture, 16, 2)])
    np.testing.assert_allclose(features.lbp(picture), expected, atol=1e-12)


def test_lbp_does_not_change_with_quarter_turns_and_brightness(picture: np.ndarray) -> None:
    gray = np.repeat(picture[:, :, :1] // 2, 3, axis=2)
    np.testing.assert_allclose(features.lbp(np.rot90(gray)), features.lbp(gray), atol=0.01)
    np.testing.assert_allclose(features.lbp(gray + np.uint8(60)), features.lbp(gray), atol=1e-12)


def test_texture_numbers_are_sums_over_pairs() -> None:
    """Neighbors at a distance of 1 in four directions, both ways."""
    levels = np.random.default_rng(2).integers(0, 5, (10, 10))
    picture = np.repeat(levels[:, :, None] * (256 // features.LEVELS) + 4, 3, axis=2).astype(np.uint8)
    expected = []
    for down, across in ((0, 1), (1, 1), (1, 0), (1, -1)):
        places = [(y, x) for y, x in np.ndindex(10, 10) if y + down < 10 and 0 <= x + across < 10]
        pairs = [(levels[y, x], levels[y + down, x + across]) for y, x in places]
        i, j = np.array(pairs + [pair[::-1] for pair in pairs], dtype=float).T
        shares = np.unique(np.stack([i, j]), axis=1, return_counts=True)[1] / len(i)
        numbers = [((i - j) ** 2).mean(), abs(i - j).mean(), (1 / (1 + (i - j) ** 2)).mean()]
        expected.append([*numbers, np.sqrt((shares**2).sum()), np.corrcoef(i, j)[0, 1], stats.entropy(shares)])
    nearest = features.glcm(picture)[: 2 * len(features.TEXTURE)]
    np.testing.assert_allclose(nearest, [*np.mean(expected, axis=0), *np.ptp(expected, axis=0)], atol=1e-12)


def test_a_flat_picture_has_no_texture() -> None:
    flat = np.full((40, 40, 3), 77, dtype=np.uint8)
    mean = features.glcm(flat).reshape(len(features.DISTANCES), 2, 6)
    np.testing.assert_allclose(mean[:, 0], [[0, 0, 1, 1, 1, 0]] * len(features.DISTANCES), atol=1e-12)
    assert not mean[:, 1].any()
    assert np.isfinite(features.handcrafted(flat)).all()


def test_intensity_equals_scipy(picture: np.ndarray) -> None:
    red = picture[:, :, 0].ravel().astype(float)
    entropy = stats.entropy(np.unique(red, return_counts=True)[1], base=2)
    moments = [red.mean(), red.std(), stats.skew(red), stats.kurtosis(red, fisher=False), entropy]
    expected = [*moments, *np.quantile(red, [0.05, 0.25, 0.5, 0.75, 0.95])]
    np.testing.assert_allclose(features.intensity(picture)[:10], expected)


def test_lengths(picture: np.ndarray) -> None:
    lengths = {name: len(extract(picture)) for name, extract in features.FEATURES.items()}
    assert lengths == {"hog": 7 * 7 * 36, "lbp": 10 + 18, "glcm": 3 * 12, "intensity": 40}
    assert len(features.handcrafted(picture)) == sum(lengths.values())
