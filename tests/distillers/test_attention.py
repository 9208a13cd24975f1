"""Attention of known maps, and the loss by loops."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdlight.distillers import Batch, View, create_distiller
from kdlight.distillers.attention import Attention, attention, attention_distance
from kdlight.models import create_model
from tests.distillers.small import small


def unit(maps: np.ndarray) -> np.ndarray:
    """Mean of squared channels as a vector of unit length, image by image."""
    rows = np.stack([sum(channel**2 for channel in image).ravel() for image in maps])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_it_is_the_distance_of_unit_attention() -> None:
    own, other, logits = torch.randn(3, 5, 4, 4), torch.randn(3, 7, 4, 4), torch.randn(3, 3)
    p, q = unit(own.double().numpy()), unit(other.double().numpy())
    expected = 1000 * ((p - q) ** 2).mean()
    batch = Batch(own, torch.zeros(3).long())
    found = small("attention").distill(View(logits, [own]), View(logits, [other]), batch)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_its_slope_is_that_of_the_formula() -> None:
    """sum_c x_c^2 over its length, written out in float64 and differentiated by finite differences."""
    own, other = torch.randn(2, 3, 2, 2, dtype=torch.float64), torch.randn(2, 4, 2, 2)
    target = unit(other.double().numpy())
    slope = np.zeros(own.shape)
    for place in np.ndindex(own.shape):
        for step in (1e-5, -1e-5):
            moved = own.numpy().copy()
            moved[place] += step
            slope[place] += 1000 * ((unit(moved) - target) ** 2).mean() / (2 * step)
    maps = own.float().requires_grad_()
    batch = Batch(maps, torch.zeros(2).long())
    small("attention").distill(View(torch.zeros(2, 3), [maps]), View(torch.zeros(2, 3), [other]), batch).backward()
    assert maps.grad is not None
    np.testing.assert_allclose(maps.grad.numpy(), slope, rtol=1e-3, atol=1e-2)


def test_equal_features_differ_by_nothing_whatever_their_sign_and_strength() -> None:
    maps = torch.randn(3, 5, 4, 4)
    assert attention_distance(maps, maps).item() == 0
    assert attention_distance(maps, -3 * maps.flip(1)).item() == pytest.approx(0, abs=1e-12)


def test_a_single_bright_place_has_all_the_attention() -> None:
    maps = torch.zeros(1, 2, 3, 3)
    maps[0, :, 1, 2] = torch.tensor([3.0, -4.0])
    assert attention(maps, 3, 3)[0].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0]


def test_the_larger_of_two_maps_is_averaged_to_the_smaller() -> None:
    large, small_ = torch.randn(2, 5, 8, 8), torch.randn(2, 7, 4, 4)
    active = F.avg_pool2d(large, 2).square().mean(1).flatten(1)
    gap = F.normalize(active, dim=1) - F.normalize(small_.square().mean(1).flatten(1), dim=1)
    assert attention_distance(large, small_).item() == pytest.approx(gap.square().mean().item(), rel=1e-5)


def test_all_resolutions_of_two_convolutional_networks_take_part() -> None:
    method = create_distiller("attention", create_model("kdlight_small", 3), create_model("mobilenetv2", 3))
    assert isinstance(method, Attention)
    assert method.pairs == [(0, 0), (1, 1), (2, 2), (4, 4), (7, 7)]
