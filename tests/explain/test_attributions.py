"""Attributions against gradients taken by hand, sums that must come out, and nets whose answer has a known place."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdlight.contracts.options import OptionError
from kdlight.explain import EXPLAINERS, ExplainError, explain, explained
from kdlight.explain import captum as door
from kdlight.explain.base import Evidence
from kdlight.explain.captum import integrated_gradients, lime, occlusion
from kdlight.explain.gradients import deeplift, guided_backprop, input_x_gradient, saliency

needs_captum = pytest.mark.skipif(not importlib.util.find_spec("captum"), reason="captum is not installed")
Method = Callable[..., Evidence]


class Net(nn.Module):
    """Two convolutions with an activation after each, pooling, one linear layer."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.act1 = nn.Conv2d(3, 6, 3, padding=1), first
        self.conv2, self.act2 = nn.Conv2d(6, 4, 3, padding=1), second
        self.linear = nn.Linear(4, 3)
        with torch.no_grad():
            self.conv1.weight.mul_(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.act2(self.conv2(self.act1(self.conv1(x)))).mean((2, 3)))


class Corner(nn.Module):
    """Class 1 is the mean of the upper left 8 x 8 pixels times 4, class 0 nothing."""

    def forward(self, x: Tensor) -> Tensor:
        value = 4 * x[:, :, :8, :8].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(value), value], dim=1)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def silent(_share: float, _words: str) -> None:
    """No one listens."""


def gradient(net: nn.Module, x: Tensor, index: int) -> Tensor:
    inputs = x.clone().requires_grad_()
    return torch.autograd.grad(net(inputs)[0, index], inputs)[0][0]


def change(net: nn.Module, x: Tensor, index: int) -> float:
    """By how much the score differs from that of the baseline."""
    with torch.no_grad():
        return float((net(x) - net(torch.zeros_like(x)))[0, index])


def test_saliency_and_input_x_gradient_are_gradients_taken_by_hand(x: Tensor) -> None:
    net = Net(nn.ReLU6(), nn.GELU())
    by_hand = gradient(net, x, 2)
    parts = saliency(net, x, 2, silent).values
    torch.testing.assert_close(parts[0], by_hand.abs().amax(0))
    torch.testing.assert_close(input_x_gradient(net, x, 2, silent).values, x[0] * by_hand)


def test_the_map_is_the_positive_part_cut_at_its_percentile(x: Tensor) -> None:
    net = Net(nn.ReLU(), nn.ReLU())
    summed = (x[0] * gradient(net, x, 0)).sum(0).clamp(min=0).numpy()
    cut = np.minimum(summed, np.quantile(summed[summed > 0], 0.99))
    np.testing.assert_allclose(explain(net, x, 0, "ixg"), cut / cut.max(), atol=1e-5)


@pytest.mark.parametrize("inplace", [False, True])
def test_guided_backprop_drops_what_speaks_against_at_each_activation(x: Tensor, inplace: bool) -> None:
    net = Net(nn.ReLU6(inplace), nn.ReLU(inplace)).requires_grad_(False)
    one = net.conv1(x)
    two = net.conv2(one.clamp(0, 6))
    back = (net.linear.weight[1] / 256)[None, :, None, None] * (two > 0)  # through pooling and the last ReLU
    back = nn.functional.conv_transpose2d(back.clamp(min=0), net.conv2.weight, padding=1)
    back = (back * ((one > 0) & (one < 6))).clamp(min=0)
    expected = nn.functional.conv_transpose2d(back, net.conv1.weight, padding=1)
    torch.testing.assert_close(guided_backprop(net, x, 1, silent).values, expected[0])


@needs_captum
def test_integrated_gradients_add_up_to_the_change_in_score(x: Tensor) -> None:
    net = Net(nn.ReLU6(), nn.SiLU())
    parts = integrated_gradients(net, x, 1, silent, steps=50)
    assert float(parts.values.sum()) == pytest.approx(change(net, x, 1), rel=0.02, abs=0.01)
    assert parts.note == ""


@needs_captum
@pytest.mark.parametrize("method", [partial(integrated_gradients, steps=50), deeplift])
def test_on_a_linear_net_each_equals_input_x_gradient(x: Tensor, method: Method) -> None:
    net = Net(nn.Identity(), nn.Identity())
    torch.testing.assert_close(method(net, x, 0, silent).values, x[0] * gradient(net, x, 0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.Hardswish, nn.GELU])
def test_deeplift_adds_up_where_every_activation_has_its_rule(x: Tensor, activation: type[nn.Module]) -> None:
    net = Net(activation(), activation())
    parts = deeplift(net, x, 1, silent)
    assert float(parts.values.sum()) == pytest.approx(change(net, x, 1), rel=1e-3, abs=1e-4)


def test_deeplift_is_the_ratio_of_changes_for_one_activation() -> None:
    """score = relu6(w x + b), one pixel: the whole change belongs to it."""
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU6(inplace=True), nn.Flatten())
    nn.init.constant_(net[0].weight, 2.0)
    nn.init.constant_(net[0].bias, 1.0)
    x = torch.tensor([3.0, 1.0, -1.0]).view(1, 3, 1, 1)  # 2 * 3 + 1 = 7 before, 6 after; 1 at the baseline
    parts = deeplift(net, x, 0, silent).values.flatten()
    torch.testing.assert_close(parts, torch.tensor([3.0, 1.0, -1.0]) * 2 * 5 / 6)


@needs_captum
def test_what_does_not_add_up_is_said(x: Tensor) -> None:
    class Squared(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square().sum((2, 3))

    assert "read it with care" in deeplift(Squared(), x, 0, silent).note
    assert explained(Squared(), x, 0, "ig").note == ""


def test_an_activation_used_twice_has_its_rule_both_times(x: Tensor) -> None:
    shared = nn.ReLU(inplace=True)

    class Twice(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.act1(self.conv2(self.act1(self.conv1(x)))).mean((2, 3)))

    apart = Net(nn.ReLU(), nn.ReLU())
    torch.testing.assert_close(
        deeplift(Twice(shared, shared), x, 0, silent).values, deeplift(apart, x, 0, silent).values
    )
    assert set(vars(shared)) == set(vars(nn.ReLU()))


def test_nothing_to_guide_is_said(x: Tensor) -> None:
    with pytest.raises(ExplainError, match="no activation modules"):
        guided_backprop(Corner(), x, 0, silent)


@needs_captum
def test_occlusion_is_the_mean_drop_over_the_squares_that_cover_a_pixel() -> None:
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    values = occlusion(Corner(), x, 1, silent, window=15, stride=8).values
    expected, covers = np.zeros((32, 32)), np.zeros((32, 32))
    for row in range(31):
        for column in range(31):  # 15 and 8 px at 224 are 2 and 1 at 32
            hidden = x.clone()
            hidden[:, :, row : row + 2, column : column + 2] = 0
            expected[row : row + 2, column : column + 2] += 4 * float((x - hidden)[:, :, :8, :8].mean())
            covers[row : row + 2, column : column + 2] += 1
    np.testing.assert_allclose(values.numpy(), expected / covers, atol=1e-5)
    assert not values[10:, 10:].any()


@needs_captum
def test_occlusion_has_the_windows_of_the_study_at_its_size(x: Tensor) -> None:
    values = occlusion(Corner(), torch.rand(1, 3, 32, 32), 1, silent, window=112, stride=56).values  # 16 and 8 at 32
    assert values[:16, :16].min() > 0
    assert not values[16:, 16:].any()


def test_options_are_declared_once_and_checked(x: Tensor) -> None:
    declared = {option.name: option for option in EXPLAINERS["lime"].options}
    assert (declared["grid"].default, declared["grid"].low, declared["grid"].high) == (8, 2, 32)
    assert all(option.help for name in EXPLAINERS for option in EXPLAINERS[name].options)
    with pytest.raises(OptionError, match=r"ig.steps is 5; a whole number from 10 to 500 was expected"):
        explain(Corner(), x, 1, "ig", steps=5)
    with pytest.raises(OptionError, match=r"gradcam.steps is not known"):
        explain(Corner(), x, 1, "gradcam", steps=5)


@needs_captum
def test_lime_finds_the_squares_that_count() -> None:
    x = torch.ones(1, 3, 32, 32)
    before = torch.random.get_rng_state()
    weights = lime(Corner(), x, 1, silent, grid=8, samples=256).values
    assert torch.equal(torch.random.get_rng_state(), before)
    side = 32 // 8
    cells = weights[::side, ::side]
    assert (cells[:2, :2] > 0.15).all()  # 4 squares, each a quarter of the change, less what the Lasso takes off
    assert cells[2:].abs().max() < 0.02
    torch.testing.assert_close(lime(Corner(), x, 1, silent, grid=8, samples=256).values, weights)


@needs_captum
@pytest.mark.parametrize("method", ["ig", "occlusion", "lime"])
def test_slow_methods_report_up_to_one_and_can_be_stopped(x: Tensor, method: str) -> None:
    seen: list[float] = []
    explain(Corner(), x, 1, method, lambda share, _words: seen.append(share))
    assert (sorted(seen), seen[-1]) == (seen, 1.0)
    assert len(seen) >= 5

    def stop(_share: float, _words: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        explain(Corner(), x, 1, method, stop)


def test_without_captum_one_sentence_says_how_to_get_it(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name="captum")

    monkeypatch.setattr(door, "import_module", missing)
    with pytest.raises(ExplainError, match=r"not installed; run: pip install captum$"):
        explain(Corner(), x, 1, "ig")
