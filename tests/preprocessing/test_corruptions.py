"""Corruptions: as strong as they say, the same for the same seed, and gray pictures stay gray."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
import torch
from scipy import ndimage

from kdlight.preprocessing.augment import Policy, RandomView
from kdlight.preprocessing.corruptions import KINDS, SEVERITIES, Corruptions, corrupt

SIZE = 128


@pytest.fixture(scope="module")
def color() -> torch.Tensor:
    coarse = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 155 + 50
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear")[0].round().byte()


@pytest.fixture(scope="module")
def gray(color: torch.Tensor) -> torch.Tensor:
    return color[:1].expand(3, -1, -1).contiguous()


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_grows_with_its_severity_and_keeps_type_and_shape(kind: str, color: torch.Tensor) -> None:
    changes = []
    for severity in SEVERITIES:
        one, again = corrupt(color, kind, severity, 7), corrupt(color, kind, severity, 7)
        assert (one.dtype, one.shape) == (torch.uint8, color.shape)
        assert torch.equal(one, again)
        changes.append(float((one.float() - color.float()).abs().mean()))
    assert 0 < changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("kind", KINDS)
def test_gray_stays_gray(kind: str, gray: torch.Tensor) -> None:
    seen = corrupt(gray, kind, 2.0, 3)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


@pytest.mark.parametrize(("severity", "levels"), [(1.0, 4), (2.0, 8), (3.0, 16)])
def test_noise_has_the_stated_deviation(severity: float, levels: float) -> None:
    flat = torch.full((3, SIZE, SIZE), 128, dtype=torch.uint8)
    assert float(corrupt(flat, "noise", severity, 0).float().std()) == pytest.approx(levels, rel=0.05)


@pytest.mark.parametrize(("severity", "sigma"), [(1.0, 0.5), (2.0, 1.0), (3.0, 2.0)])
def test_blur_is_scipys(severity: float, sigma: float, gray: torch.Tensor) -> None:
    expected = ndimage.gaussian_filter(gray[0].numpy().astype(float), sigma, mode="mirror")
    found = corrupt(gray, "blur", severity, 0)[0].numpy().astype(float)
    assert np.abs(found - expected).max() <= 1


def test_jpeg_is_the_quality_that_is_said(color: torch.Tensor) -> None:
    file = io.BytesIO()
    PIL.Image.fromarray(color.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=40)
    expected = np.asarray(PIL.Image.open(file))
    np.testing.assert_array_equal(corrupt(color, "jpeg", 2.0, 0).permute(1, 2, 0).numpy(), expected)


def test_half_the_pixels_are_left_at_severity_two(gray: torch.Tensor) -> None:
    checks = torch.zeros_like(gray)
    checks[:, ::2, 1::2] = 255
    checks[:, 1::2, ::2] = 255
    seen = corrupt(checks, "resample", 2.0, 0).float()
    assert float(seen.std()) < 3  # what is finer than two pixels is gone
    assert float(seen.mean()) == pytest.approx(127.5, abs=2)


def test_gamma_goes_both_ways(gray: torch.Tensor) -> None:
    means = {round(float(corrupt(gray, "gamma", 2.0, seed).float().mean())) for seed in range(12)}
    assert len(means) == 2
    assert min(means) < float(gray.float().mean()) < max(means)


def test_a_share_of_the_views_is_corrupted_and_a_view_is_replayed_in_any_order(color: torch.Tensor) -> None:
    view = RandomView(Policy(corrupt=0.5), SIZE)
    batch = color.expand(80, -1, -1, -1)
    draws = view.draw(80, torch.Generator().manual_seed(0))
    seen = view.see(batch, draws)
    untouched = sum(torch.equal(image, color) for image in seen)
    assert 25 <= untouched <= 55
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    assert torch.equal(view.see(batch[order], draws[order]), seen[order])
    assert set(draws.corruptions.kind.tolist()) == {-1, *range(len(KINDS))}


def test_nothing_is_drawn_at_a_share_of_zero() -> None:
    assert (Corruptions.draw(0.0, 50, torch.Generator().manual_seed(0)).kind == -1).all()
