"""visformer_s and autoformerv2_t: transformer teachers of the explainable distillation system (arXiv 2508.15251).

visformer_s: Chen et al., Visformer, ICCV 2021, https://arxiv.org/abs/2104.12533; timm's `visformer_small`, 40.2M
parameters at 1000 classes. Convolutions in the first of its three stages, attention in the others.

autoformerv2_t: Chen et al., Searching the Search Space of Vision Transformer, NeurIPS 2021,
https://arxiv.org/abs/2111.14725. The network that the paper calls S3-Tiny is the one its authors release as
AutoFormerV2-T, and timm as `swin_s3_tiny_224`: a Swin whose widths, windows and depths were searched, 28.3M parameters
at 1000 classes. The supernet it was searched in is not here; its weights are those published by the authors.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from kdlight.models.zoo import TimmClassifier


class VisformerS(TimmClassifier):
    """x (B, 3, H, W) -> logits (B, K); H, W at least 32. Features are the maps of its three stages, 1/8, 1/16, 1/32.

    Its learned positions belong to 224 px; for other sizes they are interpolated (ours; timm insists on 224 px).
    """

    def __init__(self, num_classes: int, pretrained: bool = False, **options: Any) -> None:
        super().__init__("visformer_small", num_classes, pretrained, **options)
        self.size = None
        for embed in (self.net.patch_embed1, self.net.patch_embed2, self.net.patch_embed3):
            embed.img_size = None

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        net = self.net
        x = net.stem(self.adapt(x))
        features = []
        for stage in (1, 2, 3):
            embed, positions, blocks = (
                getattr(net, f"{name}{stage}") for name in ("patch_embed", "pos_embed", "stage")
            )
            x = embed(x)
            x = blocks(net.pos_drop(x + resized(positions, x)))
            features.append(x)
        features[-1] = self.final(net.norm(features[-1]))
        return net.forward_head(features[-1]), features


def resized(positions: Tensor, x: Tensor) -> Tensor:
    """Positions (1, C, h, w) at the height and width of x (B, C, h', w'), bilinear; as they are where those agree."""
    if positions.shape[-2:] == x.shape[-2:]:
        return positions
    return F.interpolate(positions, size=x.shape[-2:], mode="bilinear", align_corners=False)


def build(name: str, num_classes: int, pretrained: bool = False) -> TimmClassifier:
    if name == "visformer_s":
        return VisformerS(num_classes, pretrained)
    return TimmClassifier("swin_s3_tiny_224", num_classes, pretrained)
