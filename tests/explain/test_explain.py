"""Heat maps against computations that share nothing with grad-cam."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdlight.explain import EXPLAINERS, ExplainError, explain, explainer, scoring
from kdlight.models import create_model

HERE = [name for name, method in EXPLAINERS.items() if method.available]


class TinyNet(nn.Module):
    """One convolution, global pooling, one linear layer; `dead` feature maps are always zero."""

    def __init__(self, channels: int = 6, classes: int = 3, dead: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Sequential(nn.Conv2d(3, channels, 3, stride=4, padding=1), nn.ReLU(inplace=True))
        self.linear = nn.Linear(channels, classes)
        with torch.no_grad():
            self.conv[0].bias.fill_(0.5)
            self.conv[0].weight[:dead] = 0
            self.conv[0].bias[:dead] = -1
            self.linear.weight += 0.2

    @property
    def cam_layer(self) -> nn.Module:
        return self.conv

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).mean((2, 3)))


@pytest.fixture
def x() -> Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def laid(cells: np.ndarray, hold: bool = False) -> np.ndarray:
    """Cells (8, 8) at every fourth pixel of 32 x 32: the centers of a 3 x 3 convolution of stride 4 and padding 1.

    Behind the last center, at pixel 28, the value holds for half a cell and is gone a whole cell away; hold: it stays.
    """
    centers, pixels = 4 * np.arange(8), np.arange(32)
    fade = np.ones(32) if hold else np.interp(pixels, (28, 30, 32), (1, 1, 0))
    rows = np.stack([np.interp(pixels, centers, column) for column in cells.T], 1) * fade[:, None]
    return np.stack([np.interp(pixels, centers, row) for row in rows]) * fade


def scaled(cam: Tensor) -> np.ndarray:
    """A raw map (8, 8) to [0, 1] at 32 x 32: rectified, stretched, laid on the input."""
    cells = cam.detach().clamp(min=0).numpy()
    large = laid((cells - cells.min()) / (cells.max() - cells.min()))
    return (large - large.min()) / (large.max() - large.min())


def plain_scorecam(net: TinyNet, x: Tensor, class_index: int) -> np.ndarray:
    """Score-CAM as the paper writes it: one feature map after the other."""
    maps = net.conv(x)[0]
    scores = []
    for one in maps:
        mask = torch.from_numpy(laid(one.detach().numpy(), hold=True)).float()
        mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
        scores.append(net(x * mask)[0, class_index])
    weights = torch.stack(scores).softmax(0)
    return scaled((weights[:, None, None] * maps).sum(0))


@pytest.mark.parametrize("class_index", [0, 1, 2])
def test_gradcam_of_a_pooled_linear_net_is_its_class_activation_map(x: Tensor, class_index: int) -> None:
    net = TinyNet()
    cam = (net.linear.weight[class_index][:, None, None] * net.conv(x)[0]).sum(0)
    np.testing.assert_allclose(explain(net, x, class_index, "gradcam"), scaled(cam), atol=1e-4)


@pytest.mark.parametrize("dead", [0, 3])
def test_scorecam_equals_the_plain_loop(x: Tensor, dead: int) -> None:
    net = TinyNet(dead=dead)
    expected = plain_scorecam(net, x, 2)
    np.testing.assert_allclose(explain(net, x, 2, "scorecam"), expected, atol=1e-4)


def test_scorecam_skips_dead_maps_and_holds_one_batch(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PIXELS", 4 * 32 * 32)
    net, sizes = TinyNet(channels=10, dead=3), []
    net.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    explain(net, x, 0, "scorecam-exact")
    assert sizes == [1, 4, 4]  # the image itself, then seven masks and the one that hides everything


def test_scorecam_reports_up_to_one(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PIXELS", 2 * 32 * 32)
    seen: list[float] = []
    explain(TinyNet(), x, 0, "scorecam", lambda share, _words: seen.append(share))
    assert seen == pytest.approx([1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("method", HERE)
def test_the_class_asked_for_decides_where_the_method_says_so(x: Tensor, method: str) -> None:
    net = TinyNet()
    net.linear.weight.data = torch.eye(6)[:3] * 400
    one, other = explain(net, x, 0, method), explain(net, x, 1, method)
    assert (np.abs(one - other).max() > 0.1) == (method != "eigencam")


SPOILED = [
    (method, spoil)
    for method in HERE
    for spoil in ("zero weights", "only against", "nan", "same everywhere")
    if spoil != "only against" or method not in ("saliency", "eigencam", "guided")
]
"""Saliency and EigenCAM have no sign; guided backprop needs the activation that is taken away there."""


@pytest.mark.parametrize(("method", "spoil"), SPOILED)
def test_a_map_without_contrast_is_zeros(x: Tensor, method: str, spoil: str) -> None:
    net = TinyNet()
    if spoil == "zero weights":
        net.conv[0].weight.data.zero_()
        net.conv[0].bias.data.zero_()
    elif spoil == "only against":
        net.conv[1] = nn.Identity()
        net.conv[0].weight.data.abs_().mul_(-1)
        net.conv[0].bias.data.fill_(-1)
        net.linear.weight.data.abs_()
    elif spoil == "nan":
        net.linear.weight.data.fill_(float("nan"))
        net.conv[0].bias.data.fill_(float("nan"))
    else:
        net.conv[0].weight.data.zero_()
        net.conv[0].bias.data.fill_(0.1)
        net.linear.weight.data.abs_()
    heat = explain(net, x, 0, method)
    assert heat.shape == (32, 32)
    assert not heat.any()


def hooks(net: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in net.modules())


@pytest.mark.parametrize("method", HERE)
def test_the_model_comes_back_as_it_was(x: Tensor, method: str) -> None:
    net = TinyNet().train()
    net.linear.bias.requires_grad_(False)
    before = net(x)
    explain(net, x, 1, method)
    assert hooks(net) == 0
    assert net.training
    assert [p.requires_grad for p in net.parameters()] == [True, True, True, False]
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(net(x), before)


@pytest.mark.parametrize("method", HERE)
def test_hooks_are_released_after_a_failure(x: Tensor, method: str) -> None:
    net = TinyNet()
    with pytest.raises(ExplainError, match="Class 3 was asked for; the model has 0 to 2"):
        explain(net, x, 3, method)
    assert hooks(net) == 0


def test_a_callback_that_raises_ends_the_method(x: Tensor) -> None:
    def stop(_share: float, _words: str) -> None:
        raise InterruptedError

    net = TinyNet()
    with pytest.raises(InterruptedError):
        explain(net, x, 0, "scorecam", stop)
    assert hooks(net) == 0


def test_what_cannot_be_explained_is_said(x: Tensor) -> None:
    with pytest.raises(ExplainError, match="one of multilayer, gradcam, "):
        explainer("gradcamm")
    with pytest.raises(ExplainError, match="names no cam_layer"):
        explain(nn.Linear(2, 2), x, 0)


OTHER = "timm:mobilenetv3_small_050"
NETWORKS = [("kdlight_nano", m) for m in HERE] + [
    (OTHER, m) for m in HERE if m != "cam" and EXPLAINERS[m].cost == "fast"
]
"""The other network has a layer more after its pooling; the student shows the slow methods for both."""


@pytest.mark.parametrize(("name", "method"), NETWORKS)
def test_the_networks_of_the_registry_have_maps(name: str, method: str) -> None:
    torch.manual_seed(0)
    net = create_model(name, 3).eval()
    x = torch.rand(1, 3, 64, 64)
    heat = explain(net, x, 1, method)
    features = net.forward_with_features(x)[1][-1].shape[-2:]
    assert heat.shape == (64, 64)
    assert heat.max() == pytest.approx(1, abs=1e-3)
    assert features[0] * features[1] > 1
