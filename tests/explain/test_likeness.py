"""Likeness of maps against SciPy and a counting of places: maps that are alike, apart, random and tied."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from kdlight.explain.likeness import GRID, TOP, likeness, on_grid

RNG = np.random.default_rng(0)


def test_it_is_spearmans_correlation_and_a_count_of_common_places() -> None:
    for _ in range(5):
        first, second = RNG.random((GRID, GRID)), RNG.random((GRID, GRID))
        second += 0.5 * first
        found = likeness(first, second)
        assert found is not None
        assert found.rank_correlation == pytest.approx(scipy.stats.spearmanr(first.ravel(), second.ravel())[0])
        strongest = [set(np.argsort(one.ravel())[-round(TOP * GRID**2) :].tolist()) for one in (first, second)]
        assert found.overlap == pytest.approx(len(strongest[0] & strongest[1]) / (TOP * GRID**2), abs=2e-3)


def test_a_map_is_like_itself_whatever_its_scale_and_unlike_its_opposite() -> None:
    heat = RNG.random((GRID, GRID))
    same, opposite = likeness(heat, np.sqrt(heat) / 3), likeness(heat, 1 - heat)
    assert same is not None
    assert opposite is not None
    assert (same.rank_correlation, same.overlap) == pytest.approx((1, 1))
    assert (opposite.rank_correlation, opposite.overlap) == pytest.approx((-1, 0))


def test_random_maps_share_a_fifth_of_their_strongest_fifth() -> None:
    found = [likeness(RNG.random((GRID, GRID)), RNG.random((GRID, GRID))) for _ in range(200)]
    assert np.mean([one.overlap for one in found if one]) == pytest.approx(TOP, abs=0.01)
    assert np.mean([one.rank_correlation for one in found if one]) == pytest.approx(0, abs=0.01)


def test_zeros_that_tie_share_what_is_left_and_no_order_among_them_is_made_up() -> None:
    """A hundred places are not zero; what is left of the strongest fifth is spread over the zeros."""
    first, second = np.zeros(GRID**2), np.zeros(GRID**2)
    first[:100] = second[100:200] = np.arange(1, 101)
    found = likeness(first.reshape(GRID, GRID), second.reshape(GRID, GRID))
    assert found is not None
    left = (TOP * GRID**2 - 100) / (GRID**2 - 100)
    assert found.overlap == pytest.approx((200 * left + (GRID**2 - 200) * left) / (TOP * GRID**2))
    assert found.rank_correlation == pytest.approx(scipy.stats.spearmanr(first, second)[0])


def test_a_flat_map_has_no_order_and_other_shapes_are_refused() -> None:
    assert likeness(np.zeros((4, 4)), RNG.random((4, 4))) is None
    with pytest.raises(ValueError, match=r"\(4, 4\) and \(4, 5\)"):
        likeness(RNG.random((4, 4)), RNG.random((4, 5)))


def test_maps_of_another_size_are_averaged_place_by_place() -> None:
    heat = RNG.random((4 * GRID, 2 * GRID)).astype(np.float32)
    expected = heat.reshape(GRID, 4, GRID, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(on_grid(heat), expected, atol=1e-6)
