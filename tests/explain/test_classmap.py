"""The class map against its two identities: its mean is the logit, and Grad-CAM is its positive part."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdlight.explain import ExplainError, explain
from kdlight.explain.classmap import linear_head, mapped
from kdlight.models import create_model


class Net(nn.Module):
    """A convolution of 40 channels, a change in place that the mean sees, and one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(3, 40, 3, stride=4, padding=1)
        self.linear = nn.Linear(40, 3)

    @property
    def cam_layer(self) -> nn.Module:
        return self.conv

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).mean((2, 3)))


class Changed(Net):
    """What follows writes into the features: the map must be of what the layer gave, or not be at all."""

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(x)
        logits: Tensor = self.linear(features.mean((2, 3)))
        features.zero_()
        return logits


@pytest.fixture
def x() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", [Net, Changed])
def test_the_class_map_is_the_weighted_features_and_averages_to_the_logit(kind: type[Net], x: Tensor) -> None:
    net = kind().eval()
    with torch.no_grad():
        logits, maps = mapped(net, x)
        features = net.conv(x)
    assert maps is not None
    by_hand = np.einsum("kc,bchw->bkhw", net.linear.weight.detach().numpy(), features.numpy())
    np.testing.assert_allclose(maps.numpy(), by_hand, atol=1e-5)
    assert torch.equal(logits, net(x))
    means = maps.mean((2, 3)) + net.linear.bias
    np.testing.assert_allclose(means.detach().numpy(), logits.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["kdlight_nano", "mobilenetv2"])
def test_grad_cam_is_the_class_map_where_there_is_one(name: str, x: Tensor) -> None:
    torch.manual_seed(0)
    model = create_model(name, 3).eval()
    one = x[:1].repeat(1, 1, 3, 3)  # (1, 3, 96, 96)
    maps = [explain(model, one, index, "cam") for index in range(3)]
    expected = [explain(model, one, index, "gradcam") for index in range(3)]
    assert max(np.ptp(heat) for heat in expected) == 1
    np.testing.assert_allclose(np.stack(maps), np.stack(expected), atol=2e-3)


def test_layers_between_pooling_and_classifier_mean_no_class_map(x: Tensor) -> None:
    model = create_model("timm:mobilenetv4_conv_small_035", 3).eval()
    with torch.no_grad():
        logits, maps = mapped(model, x)
        assert torch.equal(logits, model(x))
    assert maps is None


def test_a_network_without_a_class_map_is_told_so(x: Tensor) -> None:
    net = Net()
    net.linear = nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 3))  # type: ignore[assignment]
    assert mapped(net, x)[1] is None
    with pytest.raises(ExplainError, match="does not end in global pooling and one linear layer"):
        explain(net, x[:1], 0, "cam")


def test_a_layer_of_the_right_shape_with_another_answer_is_no_head(x: Tensor) -> None:
    net = Net()
    with torch.no_grad():
        features, logits = net.conv(x), net(x)
        assert linear_head(net, features, logits) is net.linear
        assert linear_head(net, features, logits + 0.1) is None
        assert linear_head(net, features.mean((2, 3)), logits) is None
