"""What a set's maps are like on the mean, against SciPy; flat ones are counted apart."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from kdlight.metrics.look_alike import MapCase, look_alike

RNG = np.random.default_rng(0)
LABELS = np.arange(40) % 2


def case(gap: float, rank: float | None) -> MapCase:
    told = {"path": "x", "truth": "a", "teacher": "a", "student": "b"}
    return MapCase(**told, probability_gap=gap, rank_correlation=rank, overlap=None if rank is None else (rank + 1) / 2)


def test_a_set_has_the_mean_of_its_images_and_counts_the_flat_ones() -> None:
    ranks, gaps = RNG.uniform(-1, 1, 39), RNG.random(39)
    found = look_alike("gradcam", [*map(case, gaps, ranks), case(0.5, None)], LABELS)
    assert (found.n, found.flat) == (39, 1)
    assert found.rank_correlation is not None
    assert found.rank_correlation.value == pytest.approx(ranks.mean())
    assert found.rank_correlation.low < ranks.mean() < found.rank_correlation.high  # type: ignore[operator]
    assert found.overlap is not None
    assert found.overlap.value == pytest.approx((ranks.mean() + 1) / 2)
    assert found.gaps is not None
    assert found.gaps.value == pytest.approx(scipy.stats.spearmanr(gaps, 1 - ranks)[0])
    assert found.gaps.spans_zero


def test_models_that_look_elsewhere_where_they_answer_otherwise_are_told() -> None:
    gaps = RNG.random(40)
    ranks = 1 - gaps - 0.1 * RNG.random(40)
    found = look_alike("gradcam", [case(g, r) for g, r in zip(gaps, ranks, strict=True)], LABELS)
    assert found.gaps is not None
    assert found.gaps.value > 0.9
    assert found.gaps.above_zero


def test_where_every_map_is_flat_nothing_is_said() -> None:
    found = look_alike("gradcam", [case(0.1, None)] * 3, LABELS[:3])
    assert (found.n, found.flat, found.rank_correlation, found.gaps) == (0, 3, None, None)
