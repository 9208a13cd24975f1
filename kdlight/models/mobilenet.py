"""MobileNetV2 and the kdlight students, which share its shape so that they can inherit its weights.

MobileNetV2: Sandler et al., CVPR 2018, https://arxiv.org/abs/1801.04381. The kdlight students are our design: the
KDLight abstract gives a "light, novel CNN" of 7.5 MB and no layers. A student keeps the stages of its teacher (stem,
inverted residuals, last 1x1 convolution), with fewer channels and fewer blocks in each, so every tensor of the student
is a selection of one tensor of the teacher (`kdlight.models.weight_selection`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual  # type: ignore[import-untyped, unused-ignore]
from torchvision.ops import Conv2dNormActivation  # type: ignore[import-untyped, unused-ignore]

from kdlight.models.base import StagedNetwork
from kdlight.models.zoo import TimmClassifier

STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Of the seven stages of MobileNetV2."""
EARLY = (2, 1, 2, 2, 1, 2, 1)
"""The first stage halves the picture already: half of the time goes into the first two stages otherwise."""

LATE = (1, 2, 2, 2, 1, 1, 1)
"""The last stages keep their grid: 8 x 8 cells at 128 px, where a heat map would have 4 x 4."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A network of the family: channels of its stem and its head, and between them stages of inverted residuals."""

    stem: int
    stages: tuple[tuple[int, int, int], ...]
    """Expansion, output channels and blocks."""
    head: int
    dropout: float = 0.2
    strides: tuple[int, ...] = STRIDES
    """Of the first block of each stage."""


# fmt: off
NANO = ((1, 8, 1), (2, 16, 2), (4, 16, 2), (6, 32, 3), (6, 48, 2), (6, 80, 1), (3, 80, 1))
SHAPES = {
    "mobilenetv2": Shape(
        32, ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)), 1280),
    "kdlight_nano": Shape(16, NANO, 320, 0.1, EARLY),
    "kdlight_nano16": Shape(16, NANO, 320, 0.1, LATE),
    "kdlight_small": Shape(
        16, ((1, 8, 1), (6, 12, 2), (6, 16, 3), (6, 32, 4), (6, 48, 3), (6, 80, 3), (6, 160, 1)), 640),
    "kdlight_base": Shape(
        24, ((1, 12, 1), (6, 18, 2), (6, 24, 3), (6, 48, 4), (6, 72, 3), (6, 120, 3), (6, 240, 1)), 1280),
}
# fmt: on


class MobileNet(StagedNetwork):
    """A network of the MobileNetV2 family. x (B, 3, H, W) -> logits (B, K); H, W at least 32."""

    def __init__(self, shape: Shape, num_classes: int) -> None:
        super().__init__()
        self.shape = shape
        self.num_classes = num_classes
        self.stem = Conv2dNormActivation(3, shape.stem, stride=2, activation_layer=nn.ReLU6)
        self.stages = nn.ModuleList()
        channels = shape.stem
        for (expand, width, count), stride in zip(shape.stages, shape.strides, strict=True):
            first = InvertedResidual(channels, width, stride, expand)
            others = [InvertedResidual(width, width, 1, expand) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(first, *others))
            channels = width
        self.head = Conv2dNormActivation(channels, shape.head, kernel_size=1, activation_layer=nn.ReLU6)
        self.hidden = nn.Dropout(shape.dropout)
        self.classifier = nn.Linear(shape.head, num_classes)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)


def build(name: str, num_classes: int, pretrained: bool = False) -> MobileNet:
    """Raises ValueError if pretrained weights are asked for a student, which has none of its own."""
    model = MobileNet(SHAPES[name], num_classes)
    if pretrained and name != "mobilenetv2":
        raise ValueError(f"No pretrained weights are published for {name}; use weight selection from mobilenetv2.")
    if pretrained:
        load_backbone(model, TimmClassifier("mobilenetv2_100", num_classes, True).net.state_dict())
    return model


def load_backbone(model: MobileNet, state: dict[str, Tensor]) -> None:
    """Fill everything but the classifier from a state dict of this network, or for MobileNetV2 of torchvision or timm.

    The three name the same tensors differently but hold them in the same order. Raises ValueError for another network.
    """
    backbone = {k: v for k, v in model.state_dict().items() if _is_backbone(k)}
    given = {k: v for k, v in state.items() if _is_backbone(k)}
    order = next((names for names in _dialects(list(backbone)) if set(names) == set(given)), None)
    if order is None or [given[name].shape for name in order] != [tensor.shape for tensor in backbone.values()]:
        raise ValueError(
            f"The weights are not those of this network: their {len(given)} tensors have other names or shapes. "
            f"Give its own state dict, or for MobileNetV2 one of torchvision or timm."
        )
    with torch.no_grad():
        for tensor, name in zip(backbone.values(), order, strict=True):
            tensor.copy_(given[name])


def _dialects(names: list[str]) -> Iterator[list[str]]:
    """The backbone's tensor names in order, as kdlight, torchvision and timm call them; a file may list them sorted."""
    import timm
    import torchvision  # type: ignore[import-untyped, unused-ignore]

    yield names
    builders = (torchvision.models.mobilenet_v2, lambda: timm.create_model("mobilenetv2_100"))
    for builder in builders:
        yield [name for name in builder().state_dict() if _is_backbone(name)]


def _is_backbone(key: str) -> bool:
    return not key.startswith("classifier") and not key.endswith("num_batches_tracked")
