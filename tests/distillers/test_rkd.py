"""Distances and angles against loops over pairs and triplets, and their invariances."""

from itertools import product

import numpy as np
import pytest
import torch

from kdlight.distillers import Batch, View
from kdlight.distillers.rkd import angles, distances
from tests.distillers.small import small


def by_hand(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count = len(rows)
    far, turned = np.zeros((count, count)), np.zeros((count, count, count))
    for i, j in product(range(count), repeat=2):
        far[i, j] = np.linalg.norm(rows[i] - rows[j])
    for j, i, k in product(range(count), repeat=3):
        if j not in (i, k):
            turned[j, i, k] = (rows[i] - rows[j]) @ (rows[k] - rows[j]) / far[i, j] / far[k, j]
    return far / (far.sum() / (count * (count - 1))), turned


def huber(a: np.ndarray, b: np.ndarray) -> float:
    gap = np.abs(a - b)
    return float(np.where(gap < 1, 0.5 * gap**2, gap - 0.5).mean())


def test_it_compares_all_pairs_and_triplets_of_a_batch() -> None:
    own, other = torch.randn(6, 5, 3, 2), torch.randn(6, 7, 1, 1)  # maps, and pooled features kept from before
    far, turned = by_hand(own.double().mean((2, 3)).numpy())
    far_taught, turned_taught = by_hand(other.double().mean((2, 3)).numpy())
    expected = 25 * huber(far, far_taught) + 50 * huber(turned, turned_taught)
    logits = torch.randn(6, 3)
    found = small("rkd").distill(View(logits, [own]), View(logits, [other]), Batch(own, torch.zeros(6).long()))
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_scale_place_and_rotation_do_not_matter() -> None:
    rows = torch.randn(6, 5, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    for moved in (3 * rows, rows + 4, rows @ rotation):
        torch.testing.assert_close(distances(moved), distances(rows))
        torch.testing.assert_close(angles(moved), angles(rows))


def test_known_figures() -> None:
    triangle = torch.tensor([[0.0, 0], [1, 0], [0, 1]])
    assert angles(triangle)[0, 1, 2].item() == pytest.approx(0, abs=1e-6)
    assert angles(triangle)[1, 0, 2].item() == pytest.approx(0.5**0.5)
    assert distances(triangle)[1, 2].item() == pytest.approx(3 * 2**0.5 / (2 + 2**0.5))


def test_two_equal_images_leave_the_gradient_finite() -> None:
    rows = torch.randn(4, 5)[[0, 0, 1, 2]].requires_grad_()
    (distances(rows).square().sum() + angles(rows).square().sum()).backward()
    assert rows.grad is not None
    assert bool(rows.grad.isfinite().all())
    assert float(rows.grad.abs().max()) < 20  # 5e9 in the reference code


def test_rows_that_differ_in_the_last_bits_do_not_lead() -> None:
    """As two views of one file do in half precision."""
    rows = torch.randn(4, 5)[[0, 0, 1, 2]]
    rows[1] += 1e-7
    rows.requires_grad_()
    (distances(rows).square().sum() + angles(rows).square().sum()).backward()
    assert rows.grad is not None
    assert float(rows.grad.abs().max()) < 20
