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
from typing import Any

from torch import Tensor, nn
from torchvision.models import mobilenetv3  # type: ignore[import-untyped, unused-ignore]
from torchvision.ops import Conv2dNormActivation  # type: ignore[import-untyped, unused-ignore]

from kdlight.models.base import StagedNetwork

STEM, HEAD, HIDDEN = 24, 1152, 1536
STAGES: tuple[tuple[int, int, bool, str, tuple[tuple[int, int], ...]], ...] = (
    (24, 1, False, "RE", ((3, 24),)),
    (32, 2, False, "RE", ((3, 72), (5, 128), (3, 96))),
    (48, 2, True, "RE", ((5, 128), (5, 192), (3, 288), (5, 144))),
    (96, 2, False, "HS", ((7, 288), (5, 576), (3, 288), (5, 384))),
    (136, 1, True, "HS", ((3, 576), (5, 816), (7, 816), (3, 544))),
    (192, 2, True, "HS", ((3, 816), (3, 1152), (5, 1152), (3, 576))),
)
"""Channels, stride of the first block, whether squeeze and excitation, ReLU or Hardswish; kernel and channels inside of
each block. The first block has no expansion: its channels inside are those it is given."""


class InvertedResidual(mobilenetv3.InvertedResidual):  # type: ignore[misc, unused-ignore]
    """torchvision's block of MobileNetV3, its layers by the name that weights have here."""

    def __init__(self, *shape: Any) -> None:
        """shape: as of InvertedResidualConfig, up to the stride."""
        super().__init__(mobilenetv3.InvertedResidualConfig(*shape, dilation=1, width_mult=1), nn.BatchNorm2d)
        self.layers = self._modules.pop("block")

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.use_res_connect else y


class OFA595(StagedNetwork):
    """x (B, 3, H, W) -> logits (B, K); H, W at least 32."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.stem = Conv2dNormActivation(3, STEM, stride=2, activation_layer=nn.Hardswish)
        self.stages = nn.ModuleList()
        channels = STEM
        for width, stride, squeeze, activation, blocks in STAGES:
            stage = nn.Sequential()
            for kernel, middle in blocks:
                stage.append(InvertedResidual(channels, kernel, middle, width, squeeze, activation, stride))
                channels, stride = width, 1
            self.stages.append(stage)
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
