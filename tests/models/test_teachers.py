"""The teachers of the explainable distillation system are the published networks, at any size of input."""

from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
import torchvision

from kdlight.explain import explain
from kdlight.models import Classifier, create_model, parameters
from kdlight.models.vgg import VGG19
from kdlight.models.vision_transformers import VisformerS, resized
from kdlight.models.zoo import TimmClassifier

PUBLISHED = {"vgg19": 143.667, "visformer_s": 40.2, "autoformerv2_t": 28.3}
"""Millions of parameters at 1000 classes."""


@pytest.fixture(scope="module", params=["visformer_s", "autoformerv2_t"])
def transformer(request: pytest.FixtureRequest) -> Classifier:
    torch.manual_seed(0)
    return create_model(request.param, 3).eval()


@pytest.mark.parametrize(("name", "millions"), PUBLISHED.items())
def test_a_teacher_has_the_published_size(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = create_model(name, 1000)
    assert parameters(model) / 1e6 == pytest.approx(millions, abs=0.05)


def test_a_transformer_computes_what_timm_computes(transformer: Classifier) -> None:
    name = {"VisformerS": "visformer_small"}.get(type(transformer).__name__, "swin_s3_tiny_224")
    reference = timm.create_model(name, num_classes=3).eval()
    reference.load_state_dict({k.removeprefix("net."): v for k, v in transformer.state_dict().items()})
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(transformer(x), reference(x), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("sides", [(64, 64), (96, 160)])
def test_a_transformer_reads_other_sizes(transformer: Classifier, sides: tuple[int, int]) -> None:
    with torch.no_grad():
        logits, features = transformer.forward_with_features(torch.randn(2, 3, *sides))
    assert logits.shape == (2, 3)
    assert features[-1].shape == (2, 768, sides[0] // 32, sides[1] // 32)


NARROW: dict[str, Callable[[], TimmClassifier]] = {
    "visformer_s": lambda: VisformerS(2, embed_dim=96, depth=(1, 1, 1), num_heads=2, init_channels=16),
    "autoformerv2_t": lambda: TimmClassifier(
        "swin_s3_tiny_224", 2, embed_dim=12, depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2)
    ),
}
"""The same code with fewer channels."""


@pytest.mark.parametrize("method", ["gradcam", "scorecam"])
@pytest.mark.parametrize("name", NARROW)
def test_a_transformer_has_heat_maps_that_differ_by_class(name: str, method: str) -> None:
    """Each class reads its own half of the channels, in the sense that speaks for it: its map has a positive part."""
    torch.manual_seed(0)
    model, x = NARROW[name]().eval(), torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        pooled = model.forward_with_features(x)[1][-1].mean((2, 3))[0]
        head = model.net.get_classifier()
        head.weight.zero_()
        for c in (0, 1):
            head.weight[c, c::2] = pooled.sign()[c::2] / 5
    heats = [explain(model, x, c, method) for c in (0, 1)]
    assert all(heat.max() > 0.9 for heat in heats)
    assert np.abs(heats[0] - heats[1]).max() > 0.01


def test_positions_are_interpolated_between_their_places() -> None:
    ramp = torch.arange(4.0).repeat(4, 1)[None, None]  # (1, 1, 4, 4)
    torch.testing.assert_close(resized(ramp, torch.zeros(1, 1, 4, 4)), ramp)
    assert resized(ramp, torch.zeros(1, 1, 2, 2))[0, 0].tolist() == [[0.5, 2.5], [0.5, 2.5]]


def test_vgg19_takes_the_weights_that_torchvision_publishes() -> None:
    with torch.device("meta"):
        model, published = VGG19(1000), torchvision.models.vgg19(init_weights=False)
        own = {k: v.shape for k, v in model.state_dict().items()}
    assert {k: v.shape for k, v in model.from_elsewhere(published.state_dict()).items()} == own
    assert list(model.from_elsewhere(model.net.state_dict())) == list(own)
    assert list(model.from_elsewhere(model.state_dict())) == list(own)


def test_vgg19_answers_as_timm_does_from_maps_before_the_last_pooling() -> None:
    torch.manual_seed(0)
    model = VGG19(3, mlp_ratio=0.05).eval()  # with narrow dense layers
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        logits, features = model.forward_with_features(x)
        torch.testing.assert_close(logits, model.net(x))
    assert features[-1].shape == (1, 512, 4, 6)
    heats = [explain(model, x, c) for c in range(3)]
    assert sum(bool(heat.any()) for heat in heats) >= 2
