"""Grades of maps made by hand, the odds that support them, and likeness."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from kdlight.contracts.reading import Support
from kdlight.explain import grade, odds_ratio, similarity
from kdlight.explain.grade import STRONG, STRONGEST, _blurred, _ranks


def test_no_contrast_is_flat() -> None:
    for heat in (np.zeros((8, 8)), np.full((8, 8), 0.7), np.full((8, 8), np.nan)):
        assert grade(heat).flat
        assert grade(heat, 9.0).support == "flat"
    assert grade(np.zeros((8, 8))).words.startswith("Flat")


def spot(side: int = 40) -> np.ndarray:
    heat = np.zeros((side, side), dtype=np.float32)
    heat[18:22, 18:22] = 1
    return heat


def test_one_spot_in_the_middle_has_all_its_mass_in_a_tenth() -> None:
    measured = grade(spot())
    assert (measured.support, measured.focus, measured.border) == ("unmeasured", 1.0, 0.0)


def test_a_corner_marker_is_called_out() -> None:
    heat = np.full((64, 64), 0.01)
    heat[:6, :6] = 1
    assert "edge" in grade(heat).words
    assert "edge" not in grade(spot()).words


def test_focus_is_the_share_in_the_strongest_tenth() -> None:
    heat = np.tile(np.linspace(0.6, 1.0, 50), (50, 1))
    assert grade(heat).focus == pytest.approx(np.linspace(0.6, 1.0, 50)[-5:].sum() / np.linspace(0.6, 1.0, 50).sum())


@pytest.mark.parametrize(
    ("ratio", "support", "words"),
    [
        (STRONG, "strong", "Supported: blurring what the map marks lowers the odds of its class 5.0 times more"),
        (STRONG - 0.1, "weak", "Weakly supported: "),
        (1.0, "none", "Not supported: "),
        (math.exp(50), "strong", "over 100 times"),
    ],
)
def test_the_odds_decide_the_support(ratio: float, support: Support, words: str) -> None:
    measured = grade(spot(), ratio)
    assert measured.support == support
    assert words in measured.words


def bright(x: Tensor) -> np.ndarray:
    """Logits (B, 2) of a model that sees one square alone: class 1 is its brightness times 3, class 0 nothing."""
    value = 3 * x[:, :, 8:16, 8:16].mean((1, 2, 3))
    return torch.stack([torch.zeros_like(value), value], dim=1).numpy()


def lit() -> Tensor:
    x = torch.zeros(1, 3, 32, 32)
    x[:, :, 8:16, 8:16] = 1
    return x


def test_the_ratio_is_that_of_the_odds_with_each_part_blurred() -> None:
    """A map of the square itself: its strongest three tenths hold it, its weakest half is elsewhere."""
    heat = np.zeros((32, 32), dtype=np.float32)
    heat[8:16, 8:16] = np.random.default_rng(0).uniform(0.5, 1, (8, 8))
    x = lit()
    blurred = torch.from_numpy(gaussian_filter(x[0].numpy(), (0, 3.2, 3.2)))
    inside = blurred[0, 8:16, 8:16].mean()
    expected = math.exp(3 * (1 - float(inside)))
    assert STRONGEST * 32 * 32 > 64
    assert odds_ratio(heat, x, bright, 1) == pytest.approx(expected, rel=1e-3)
    assert odds_ratio(heat, x, bright, 0) == pytest.approx(1 / expected, rel=1e-3)


def test_a_map_beside_what_decides_has_no_support() -> None:
    heat = np.zeros((32, 32), dtype=np.float32)
    heat[22:30, 22:30] = 1
    measured = grade(heat, odds_ratio(heat, lit(), bright, 1))
    assert measured.support == "none"


def test_equal_values_are_ranked_by_their_distance_to_the_strong_parts_then_by_place() -> None:
    """As a sort by three keys has them: the map, its blur, the place."""
    heat = np.maximum(gaussian_filter(np.random.default_rng(1).standard_normal((64, 64)), 4), 0).astype(np.float32)
    heat[:, 40:] = 0  # beyond the reach of the blur
    heat /= heat.max()
    assert (heat == 0).mean() > 0.5
    smooth = _blurred(heat, 1 / 8, "nearest")
    expected = np.empty(heat.size)
    expected[np.lexsort((smooth.ravel(), heat.ravel()))] = np.arange(heat.size) / heat.size
    np.testing.assert_array_equal(_ranks(heat).ravel(), expected)


def test_what_cannot_be_measured_is_none() -> None:
    assert odds_ratio(np.zeros((32, 32)), lit(), bright, 1) is None
    assert odds_ratio(spot(32), lit(), lambda x: bright(x)[:, :1], 0) is None


def test_the_border_share_is_the_mass_outside_the_inner_part() -> None:
    heat = np.ones((16, 16))
    heat[8, 8] = 3
    assert grade(heat).border == pytest.approx((16 * 16 - 12 * 12) / (16 * 16 + 2))


def test_similarity_is_pearson() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 5)), rng.random((5, 5))
    za, zb = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
    assert similarity(a, b) == pytest.approx((za * zb).mean())
    assert similarity(a, 1 - a) == pytest.approx(-1)
    assert similarity(a, np.zeros((5, 5))) is None
    with pytest.raises(ValueError, match="one shape was expected"):
        similarity(a, a[:3])
