"""ofa595: the student of the explainable distillation system, a MobileNetV3 found by Once-for-All.

Mir and Rizvi, arXiv 2508.15251, distill into a network derived from OFA-595; their abstract does not say how it was
changed. This is OFA-595 itself: the specialized sub-network flops@595M_top1@80.0_finetune@75 of Once-for-All (Cai et
al., ICLR 2020, https://arxiv.org/abs/1908.09791), with our number of classes. It was searched for 236 px and reads any
size from 32 px.

9,135,928 parameters at 1000 classes, 595.19M multiply-adds at 236 px (512.86M at 224 px). Those figures count the
squeeze-and-excitation layers as what they are, 1x1 convolutions of a 1x1 map, and so does `kdlight.models.macs`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation, SqueezeExcitation  # type: ignore[import-untyped, unused-ignore]

from kdlight.models.base import StagedNetwork


@dataclass(frozen=True, slots=True)
class Block:
    """An inverted residual: kernel, channels inside and out, stride, squeezed channels (0: none), activation."""

    kernel: int
    middle: int
    channels: int
    stride: int = 1
    squeeze: int = 0
    activation: type[nn.Module] = nn.ReLU


STEM = 24
HEAD = 1152
HIDDEN = 1536
_H = nn.Hardswish
STAGES: tuple[tuple[Block, ...], ...] = (
    (Block(3, 24, 24),),
    (Block(3, 72, 32, 2), Block(5, 128, 32), Block(3, 96, 32)),
    (Block(5, 128, 48, 2, 32), Block(5, 192, 48, 1, 48), Block(3, 288, 48, 1, 72), Block(5, 144, 48, 1, 40)),
    (
        Block(7, 288, 96, 2, 0, _H),
        Block(5, 576, 96, 1, 0, _H),
        Block(3, 288, 96, 1, 0, _H),
        Block(5, 384, 96, 1, 0, _H),
    ),
    (
        Block(3, 576, 136, 1, 144, _H),
        Block(5, 816, 136, 1, 208, _H),
        Block(7, 816, 136, 1, 208, _H),
        Block(3, 544, 136, 1, 136, _H),
    ),
    (
        Block(3, 816, 192, 2, 208, _H),
        Block(3, 1152, 192, 1, 288, _H),
        Block(5, 1152, 192, 1, 288, _H),
        Block(3, 576, 192, 1, 144, _H),
    ),
)
"""The table of the sub-network. The first block has no expansion: its channels inside are those it is given."""


class InvertedResidual(nn.Module):
    """x (B, in, H, W) -> (B, out, H / stride, W / stride): expand, depthwise, squeeze, project; no activation last."""

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        middle, activation = block.middle, block.activation
        layers: list[nn.Module] = []
        if middle != inputs:
            layers.append(Conv2dNormActivation(inputs, middle, 1, activation_layer=activation))
        layers.append(
            Conv2dNormActivation(middle, middle, block.kernel, block.stride, groups=middle, activation_layer=activation)
        )
        if block.squeeze:
            layers.append(SqueezeExcitation(middle, block.squeeze, scale_activation=nn.Hardsigmoid))
        layers.append(Conv2dNormActivation(middle, block.channels, 1, activation_layer=None))
        self.layers = nn.Sequential(*layers)
        self.skip = block.stride == 1 and inputs == block.channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.skip else y


class OFA595(StagedNetwork):
    """x (B, 3, H, W) -> logits (B, K); H, W at least 32."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.stem = Conv2dNormActivation(3, STEM, stride=2, activation_layer=nn.Hardswish)
        self.stages = nn.ModuleList()
        channels = STEM
        for stage in STAGES:
            inputs = [channels, *(block.channels for block in stage[:-1])]
            self.stages.append(nn.Sequential(*map(InvertedResidual, inputs, stage)))
            channels = stage[-1].channels
        self.head = Conv2dNormActivation(channels, HEAD, 1, activation_layer=nn.Hardswish)
        self.hidden = nn.Sequential(nn.Linear(HEAD, HIDDEN, bias=False), nn.Hardswish(), nn.Dropout(0.2))
        self.classifier = nn.Linear(HIDDEN, num_classes)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan = module.kernel_size[0] ** 2 * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0, math.sqrt(2 / fan))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear) and module is not self.classifier:
                nn.init.kaiming_normal_(module.weight)
        nn.init.normal_(self.classifier.weight, 0, 0.01)
        nn.init.zeros_(self.classifier.bias)


def build(name: str, num_classes: int, pretrained: bool = False) -> OFA595:
    """Raises ValueError if pretrained: the published checkpoint is a pickle, and timm has none."""
    if pretrained:
        raise ValueError("ofa595 has no pretrained weights in timm; it starts from random ones, or from a state dict.")
    return OFA595(num_classes)
