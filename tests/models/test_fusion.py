"""A fusion teacher answers from its streams' pooled vectors; the shipped teams are checked without their weights."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.layers import BatchNormAct2d, create_conv2d
from timm.models.resnetv2 import ResNetV2
from torch import Tensor
from torch.nn import functional as F

from kdlight.explain import explain
from kdlight.models import create_model, parameters
from kdlight.models.fusion import Fusion, deepen, stacked

SMALL = ("resnetv2_18", "convnext_atto", "vit_tiny_patch16_224")
"""The families of fusion_skin in sizes for a test."""


@pytest.fixture(scope="module")
def small() -> Fusion:
    torch.manual_seed(0)
    return Fusion(SMALL, 3).eval()


def pooled_by_timm(net: Any, x: Tensor) -> Tensor:
    """The mean over positions of what a timm network sees last, by its own output."""
    features = net.forward_features(x)
    return features[:, net.num_prefix_tokens :].mean(1) if features.dim() == 3 else features.mean((2, 3))


def test_it_answers_from_the_pooled_vectors_of_its_streams(small: Fusion) -> None:
    x = torch.randn(2, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = x * std[:, None, None] + mean[:, None, None]
    parts = []
    with torch.no_grad():
        for stream, norm in zip(small.streams, small.norms, strict=True):
            wanted = stream.net.pretrained_cfg
            own_mean, own_std = torch.tensor(wanted["mean"]), torch.tensor(wanted["std"])
            own = (pixels - own_mean[:, None, None]) / own_std[:, None, None]
            vector = pooled_by_timm(stream.net, own)
            parts.append(F.layer_norm(vector, vector.shape[1:], norm.weight, norm.bias))
        expected = F.linear(torch.cat(parts, 1), small.classifier.weight, small.classifier.bias)
        torch.testing.assert_close(small(x), expected, atol=1e-4, rtol=1e-3)


def test_its_map_holds_every_stream_on_the_finest_grid(small: Fusion) -> None:
    with torch.no_grad():
        maps = small.forward_with_features(torch.randn(1, 3, 64, 96))[1][-1]
    assert maps.shape == (1, 512 + 320 + 192, 4, 6)


def test_stacking_keeps_the_means() -> None:
    maps = [torch.randn(2, 3, 2, 2), torch.randn(2, 5, 6, 6)]
    both = stacked(maps)
    assert both.shape == (2, 8, 6, 6)
    torch.testing.assert_close(both.mean((2, 3)), torch.cat([m.mean((2, 3)) for m in maps], 1))


def test_its_heat_maps_differ_by_class(small: Fusion) -> None:
    x = torch.randn(1, 3, 64, 64)
    heats = [explain(small, x, c) for c in range(3)]
    assert all(heat.max() > 0.9 for heat in heats)
    assert np.corrcoef(heats[0].ravel(), heats[1].ravel())[0, 1] < 0.9


def test_a_deepened_network_computes_what_the_shallower_one_does() -> None:
    torch.manual_seed(0)
    plain = {"norm_layer": BatchNormAct2d, "conv_layer": create_conv2d}
    make = partial(ResNetV2, channels=(32, 64, 64, 64), num_classes=0, stem_chs=16, **plain)
    shallow, deep = make((1, 2, 1, 1)).eval(), make((1, 3, 2, 1)).eval()
    with torch.no_grad():
        for parameter in [*shallow.parameters(), *deep.parameters()]:
            parameter.copy_(torch.rand_like(parameter) - 0.3)
    deepen(deep, shallow)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = shallow(x)
        assert expected.std() > 0
        torch.testing.assert_close(deep(x), expected)


@pytest.mark.parametrize(
    ("name", "widths", "millions"),
    [("fusion_skin", [2048, 1024, 768], 231.5), ("dual_stream", [768, 384], 49.2)],
)
def test_a_shipped_team_has_its_streams(name: str, widths: list[int], millions: float) -> None:
    with torch.device("meta"):
        model = create_model(name, 7).eval()
        logits, features = model.forward_with_features(torch.zeros(2, 3, 224, 224))
    assert logits.shape == (2, 7)
    assert model.classifier.in_features == sum(widths)
    assert features[-1].shape == (2, sum(widths), 14, 14)
    assert parameters(model) / 1e6 == pytest.approx(millions, abs=0.1)


def test_pretrained_streams_are_asked_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []
    original = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> Any:
        asked.append((name, pretrained))
        return original(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with torch.device("meta"):
        create_model("fusion_skin", 2, pretrained=True)
    assert {name for name, wanted in asked if wanted} == {"resnetv2_101", "convnext_base", "vit_base_patch16_224"}
