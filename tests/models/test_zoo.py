"""timm networks of every layout give maps, and heat maps that follow the class."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor

from kdlight.explain import explain
from kdlight.models import create_model
from kdlight.models.tokens import Layout, fold, grid_of, layout_of, unfold
from kdlight.models.zoo import TimmClassifier

NARROW: dict[str, Any] = {"depth": 1, "embed_dim": 48, "num_heads": 3}


def seeing(name: str) -> TimmClassifier:
    """A ViT whose class token collects how much red and green the patches hold: class 0 is red, class 1 is green."""
    model = TimmClassifier(name, 2, **NARROW).eval()
    net = model.net
    with torch.no_grad():
        for key, parameter in net.named_parameters():
            parameter.fill_(1.0 if ("norm" in key and key.endswith("weight")) or key.endswith("gamma") else 0.0)
        net.patch_embed.proj.weight[0, 0] = net.patch_embed.proj.weight[1, 1] = 1.0
        net.blocks[0].attn.qkv.weight[-48:] = torch.eye(48)
        net.blocks[0].attn.proj.weight.copy_(torch.eye(48))
        net.head.weight[0, 0] = net.head.weight[1, 1] = 1.0
    return model


@pytest.mark.parametrize("method", ["gradcam", "scorecam"])
@pytest.mark.parametrize(("name", "patch"), [("deit_tiny_patch16_224", 16), ("vit_small_patch14_reg4_dinov2", 14)])
def test_the_map_of_a_class_token_network_follows_the_class(name: str, patch: int, method: str) -> None:
    x = torch.zeros(1, 3, 4 * patch, 6 * patch)
    x[:, 0, patch : 2 * patch, patch : 2 * patch] = 1  # red, to the left
    x[:, 1, 2 * patch : 3 * patch, 4 * patch : 5 * patch] = 1  # green, to the right
    model = seeing(name)
    red, green = (explain(model, x, c, method) for c in (0, 1))
    for heat, (row, column) in ((red, (1.5, 1.5)), (green, (2.5, 4.5))):
        assert heat.shape == (4 * patch, 6 * patch)
        top = np.unravel_index(heat.argmax(), heat.shape)
        assert np.abs(np.array(top) / patch - (row, column)).max() <= 0.5
        left = heat[:, : 3 * patch].sum() / heat.sum()
        assert left > 0.9 if column < 3 else left < 0.1


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224"])
def test_features_after_the_last_block_do_not_stand_for_a_class_token(name: str) -> None:
    torch.manual_seed(0)
    model = TimmClassifier(name, 3, **{**NARROW, "depth": 2}).eval()
    side = 4 * model.net.patch_embed.patch_size[0]
    x = torch.randn(1, 3, side, side)
    logits, (maps,) = model.forward_with_features(x)
    slopes = torch.autograd.grad(logits[0, 1], maps)[0]
    assert maps.shape == (1, 48, 4, 4)
    assert slopes.abs().max() > 0
    assert explain(model, x, 1).shape == (side, side)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deit_tiny_patch16_224", NARROW),
        ("vit_wee_patch16_reg1_gap_256", NARROW),
        ("swin_tiny_patch4_window7_224", {"embed_dim": 12, "depths": (1, 1, 2, 1), "num_heads": (1, 1, 2, 2)}),
        ("tiny_vit_5m_224", {}),
        ("convnext_atto", {}),
        ("efficientnet_lite0", {}),
    ],
)
def test_sizes_off_the_beaten_track_are_read(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = TimmClassifier(name, 3, **options).eval()
    for sides in ((64, 64), (64, 96), (100, 72)):
        x = torch.randn(1, 3, *sides)
        with torch.no_grad():
            logits, (maps,) = model.forward_with_features(x)
            torch.testing.assert_close(logits, model.net(model.adapt(x)))
        assert logits.shape == (1, 3)
        assert maps.dim() == 4
        assert (maps.shape[2] <= maps.shape[3]) == (sides[0] <= sides[1]) or maps.shape[2] == maps.shape[3]


def test_a_network_of_a_fixed_size_says_so_and_is_built_for_another() -> None:
    with pytest.raises(ValueError, match=r"224 x 224 px only; 96 x 96 were given.*timm:<name>@96"):
        create_model("timm:visformer_tiny", 2)(torch.zeros(1, 3, 96, 96))
    with torch.no_grad():
        assert create_model("timm:visformer_tiny@96", 2).eval()(torch.zeros(1, 3, 96, 96)).shape == (1, 2)
    with pytest.raises(ValueError, match="32 to 1024 px was expected"):
        create_model("timm:visformer_tiny@9", 2)
    with pytest.raises(ValueError, match="does not take img_size"):
        create_model("timm:resnet10t@96", 2)


def test_a_picture_is_standardized_as_the_network_was_trained() -> None:
    torch.manual_seed(0)
    model = TimmClassifier("vit_tiny_patch16_224", 2, **NARROW).eval()
    assert model.net.pretrained_cfg["mean"] == (0.5, 0.5, 0.5)
    pixels = torch.rand(2, 3, 32, 32)
    x = (pixels - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    with torch.no_grad():
        torch.testing.assert_close(model(x), model.net((pixels - 0.5) / 0.5), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet10t", "deit_tiny_patch16_224"])
def test_weights_of_timm_find_their_places(name: str) -> None:
    model = create_model(f"timm:{name}", 3)
    published = timm.create_model(name, num_classes=3).state_dict()
    assert {f"net.{key}" for key in published} == set(model.state_dict())
    assert model.load_state_dict(model.from_elsewhere(published), strict=True)
    assert model.from_elsewhere(model.state_dict()).keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    ("count", "sides", "grid"),
    [
        (196, (224, 224), (14, 14)),
        (24, (64, 96), (4, 6)),
        (28, (100, 60), (7, 4)),  # patches of 16 px, the border padded
        (195, (224, 224), None),
        (12, (64, 64), None),
        (0, (64, 64), None),
    ],
)
def test_tokens_find_the_grid_of_the_picture(count: int, sides: tuple[int, int], grid: tuple[int, int] | None) -> None:
    assert grid_of(count, sides) == grid


class Net:
    """What is asked of a timm network to tell a layout."""

    num_features = 8
    num_prefix_tokens = 2


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((2, 8, 3, 5), Layout("maps")),
        ((2, 3, 5, 8), Layout("channels_last")),
        ((2, 17, 8), Layout("tokens", (3, 5), 2)),
        ((2, 15, 8), Layout("tokens", (3, 5), 0)),
    ],
)
def test_a_layout_is_recognized_folded_and_restored(shape: tuple[int, ...], layout: Layout) -> None:
    features = torch.randn(shape)
    assert layout_of(Net, features, (48, 80)) == layout
    maps = fold(features, layout)
    assert maps.shape == (2, 8, 3, 5)
    assert torch.equal(unfold(maps, features, layout), features)
    if layout.kind == "tokens":
        assert torch.equal(maps[1, :, 2, 4], features[1, -1])


@pytest.mark.parametrize("features", [torch.zeros(2, 8), [torch.zeros(2, 8, 3, 5)], torch.zeros(2, 11, 8)])
def test_features_without_a_map_are_refused(features: Tensor | list[Tensor]) -> None:
    with pytest.raises(ValueError, match="form no map of a 48 x 80 input"):
        layout_of(Net, features, (48, 80))
