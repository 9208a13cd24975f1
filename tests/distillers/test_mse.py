"""The squared distance of softened probabilities, by hand."""

import math

import pytest
import torch

from kdlight.distillers import Batch, View
from kdlight.distillers.mse import softened_mse
from tests.distillers.small import small


def test_it_is_the_squared_distance_of_softened_probabilities() -> None:
    own, other = torch.randn(5, 3), torch.randn(5, 3) * 3
    total = 0.0
    for z, w in zip(own.tolist(), other.tolist(), strict=True):
        p, q = ([math.exp(v / 2) / sum(math.exp(u / 2) for u in row) for v in row] for row in (z, w))
        total += sum((a - b) ** 2 for a, b in zip(p, q, strict=True))
    expected = 0.5 * 4 * total / 5
    method = small("mse", alpha=0.5, temperature=2.0)
    found = method.distill(View(own, []), View(other, []), Batch(own, torch.zeros(5).long()))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_sure_answers_for_different_classes_are_two_apart() -> None:
    sure = torch.eye(3) * 100
    assert softened_mse(sure, sure, 1.0).item() == 0
    assert softened_mse(sure, sure.roll(1, dims=0), 1.0).item() == pytest.approx(2)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"^distill\.alpha is 1\.5; a number from 0 to 1 was expected"):
        small("mse", alpha=1.5)
