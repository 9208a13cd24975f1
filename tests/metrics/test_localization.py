"""Maps against outlines: the figures by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kdlight.metrics import Interval, MetricError
from kdlight.metrics.localization import Overlap, localization, overlap


@pytest.fixture
def outline() -> np.ndarray:
    """A quarter of the area, at the upper left."""
    inside = np.zeros((8, 8), dtype=np.bool_)
    inside[:4, :4] = True
    return inside


def test_an_even_map_has_a_lift_of_one(outline: np.ndarray) -> None:
    heat = np.full((8, 8), 0.5)
    heat[0, 0] += 1e-6  # else it is flat
    assert overlap(heat, outline).lift == pytest.approx(1, abs=1e-5)


def test_a_map_inside_the_outline_has_the_most(outline: np.ndarray) -> None:
    assert overlap(outline.astype(float), outline) == Overlap(share=1.0, lift=4.0, pointing=1.0)


def test_share_and_peak_are_told_apart(outline: np.ndarray) -> None:
    heat = np.zeros((8, 8))
    heat[1, 1], heat[7, 7] = 1, 3
    assert overlap(heat, outline) == Overlap(share=0.25, lift=1.0, pointing=0.0)


def test_a_flat_map_points_nowhere(outline: np.ndarray) -> None:
    assert overlap(np.zeros((8, 8)), outline) == Overlap(share=0.25, lift=1.0, pointing=0.0)


def test_what_cannot_be_compared_is_refused(outline: np.ndarray) -> None:
    with pytest.raises(MetricError, match="one shape"):
        overlap(np.zeros((4, 4)), outline)
    with pytest.raises(MetricError, match="outlined part"):
        overlap(np.zeros((8, 8)), ~outline & outline)
    with pytest.raises(MetricError, match="No image"):
        localization([], [])


def test_means_have_intervals_over_groups() -> None:
    """Two groups of two equal images each: the mean of a draw is 0, 0.5 or 1 whatever is drawn."""
    some = [Overlap(0.0, 0.0, 0.0)] * 2 + [Overlap(1.0, 4.0, 1.0)] * 2
    found = localization(some, [0, 0, 0, 0], ["a", "a", "b", "b"])
    assert found.n == 4
    assert found.pointing == Interval(0.5, 0.0, 1.0)
    assert found.lift.value == 2
