"""Limits that maps of random weights do not reach: the promise by simulation, and a planted network that sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdlight.explain.randomized import randomized
from kdlight.inference.map_limits import MOST, chosen, scored


@pytest.mark.parametrize("apart", [0.0, 0.3, 2.0])
def test_at_most_the_promised_share_of_new_random_maps_passes(apart: float) -> None:
    """Over 300 draws of what sets the limits; a network as bad as a random one is let through as seldom."""
    rng = np.random.default_rng(0)
    passed, own = [], []
    for _ in range(300):
        limits = chosen(rng.normal(apart, 0.2, (48, 2)), rng.normal(0, 0.2, (144, 2)))
        row = (limits.gain, limits.shift)
        passed.append((rng.normal(0, 0.2, (100, 2)) >= row).all(axis=1).mean())
        own.append((rng.normal(apart, 0.2, (100, 2)) >= row).all(axis=1).mean())
    assert np.mean(passed) <= MOST
    assert np.mean(own) == pytest.approx(np.mean(passed), abs=0.01) if apart == 0 else np.mean(own) > 0.4


def test_where_random_maps_are_as_good_nothing_passes() -> None:
    limits = chosen(np.zeros((48, 2)), np.ones((144, 2)))
    assert (limits.gain, limits.shift) == (1.0, 0.0)
    assert chosen(np.ones((48, 2)), np.zeros((10, 2))).gain == 1.0  # ten are too few to promise anything


def test_the_limits_are_those_of_a_second_writing() -> None:
    """The 95 % of the own that stay, counted by hand; of the stable random ones no more than the third exceeds."""
    own = np.column_stack([np.full(40, 0.5), np.linspace(0.01, 0.4, 40)])
    random = np.column_stack([np.linspace(0, 0.79, 80), np.where(np.arange(80) % 2, 0.9, 0.0)])
    limits = chosen(own, random)
    assert limits.shift == pytest.approx(0.02)
    assert limits.gain == pytest.approx(0.75)  # of 0.79, 0.77, 0.75, ... two pass
    assert ((random[:, 0] >= limits.gain) & (random[:, 1] >= limits.shift)).sum() == 2


class Finder(nn.Module):
    """Two classes: whether there is a bright square, found by its mean over 8 x 8 cells; or random weights."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Conv2d(3, 8, 9, 4, padding=4)
        self.found = nn.Conv2d(8, 8, 3, padding=1)
        self.classifier = nn.Linear(8, 2)
        with torch.no_grad():
            self.cells.weight.fill_(1 / 243)
            self.cells.bias.fill_(-1.0)  # type: ignore[union-attr]
            self.found.weight.zero_()
            self.found.weight[range(8), range(8), 1, 1] = 1.0
            self.found.bias.zero_()  # type: ignore[union-attr]
            self.classifier.weight.copy_(torch.tensor([[-2.4], [2.4]]).expand(2, 8))
            self.classifier.bias.copy_(torch.tensor([1.6, -1.6]))
        self.cam_layer = self.found

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.found(self.cells(x).relu()).mean((2, 3)))
        return logits


def pictures(count: int, seed: int) -> Tensor:
    """Smooth noise with a bright square anywhere."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(0, 0.5, (count, 3, 64, 64)).astype(np.float32))
    for one in x:
        top, left = rng.integers(0, 48, 2)
        one[:, top : top + 16, left : left + 16] += 4
    return x


def test_maps_of_a_network_that_sees_pass_and_of_random_weights_do_not() -> None:
    """Limits from some images and weights; shares from others."""
    model = Finder().eval().requires_grad_(False)

    def values(net: nn.Module, x: Tensor) -> np.ndarray:
        return np.array([scored(net, one[None], 1.0, "gradcam") for one in x])

    held, new = pictures(12, 0), pictures(12, 1)
    limits = chosen(values(model, held), np.concatenate([values(randomized(model, 1.0, 64, s), held) for s in (1, 2)]))
    row = (limits.gain, limits.shift)
    assert (values(model, new) >= row).all(axis=1).mean() >= 0.7
    random = np.concatenate([values(randomized(model, 1.0, 64, seed), new) for seed in (3, 4)])
    assert (random >= row).all(axis=1).mean() <= 0.1
