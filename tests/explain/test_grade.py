"""Grades and likeness of maps made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kdlight.explain import grade, similarity


def test_no_contrast_is_flat() -> None:
    for heat in (np.zeros((8, 8)), np.full((8, 8), 0.7), np.full((8, 8), np.nan)):
        assert grade(heat).flat
    assert grade(np.zeros((8, 8))).words.startswith("Flat")


def test_one_spot_in_the_middle_is_focused() -> None:
    heat = np.zeros((40, 40), dtype=np.float32)
    heat[18:22, 18:22] = 1
    found = grade(heat)
    assert (found.kind, found.focus, found.border) == ("focused", 1.0, 0.0)


def test_a_corner_marker_is_called_out() -> None:
    heat = np.full((64, 64), 0.01)
    heat[:6, :6] = 1
    found = grade(heat)
    assert found.kind == "border"
    assert "edge" in found.words


def test_a_slight_slope_is_diffuse() -> None:
    heat = np.tile(np.linspace(0.6, 1.0, 50), (50, 1))
    found = grade(heat)
    assert found.kind == "diffuse"
    assert found.focus == pytest.approx(np.linspace(0.6, 1.0, 50)[-5:].sum() / np.linspace(0.6, 1.0, 50).sum())


def test_a_large_blob_is_broad() -> None:
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    assert grade(np.exp(-(rows**2 + columns**2) * 2.5)).kind == "broad"


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
