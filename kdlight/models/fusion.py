"""Teachers that look with several networks at once and answer from one head.

fusion_skin: Islam et al., arXiv 2406.17051, fuse ResNet152V2, ConvNeXt-Base and ViT-Base for skin cancer; the abstract
does not say how. dual_stream: arXiv 2512.21372 joins Swin (global) and ViT (local) for gastrointestinal images; sizes
and fusion are not given either. The fusion is ours: each stream's last maps are brought to the finest of their grids
and stacked; their means, which are the streams' pooled vectors (2048 + 1024 + 768 for skin), are normalized stream by
stream and read by one linear layer. So a heat map covers all streams, weighed as the head weighs them, and a
distillation method that follows pooled features follows all of them. A ViT is pooled over its patches, not read from
its class token, since a class token has no place in a map.

resnetv2_152 is timm's ResNet152V2: pre-activation, batch norm, 2048 features (the `_bit` ones have group norm and, at
this depth, 4096). timm publishes no weights for it, so pretrained=True takes those of resnetv2_101, whose blocks it
has and 17 more; those begin as identities, and the deeper network first computes exactly what the shallower one does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.models.base import Classifier
from kdlight.models.tokens import fold, layout_of
from kdlight.models.zoo import Restandardize, check_size, fixed_size
from kdlight.models.zoo import build as build_timm

TEAMS: dict[str, tuple[str, ...]] = {
    "fusion_skin": ("resnetv2_152", "convnext_base", "vit_base_patch16_224"),
    "dual_stream": ("swin_tiny_patch4_window7_224", "vit_small_patch16_224"),
}
"""Name -> timm networks. Both sizes of dual_stream are ours."""
SHALLOWER = {"resnetv2_152": "resnetv2_101"}
"""Networks without published weights -> those whose blocks they share."""


class Stream(nn.Module):
    """A timm network without its head: x (B, 3, H, W) -> maps (B, width, h, w)."""

    def __init__(self, name: str, pretrained: bool) -> None:
        super().__init__()
        self.net = build_timm(name, 0, pretrained and name not in SHALLOWER)
        if pretrained and name in SHALLOWER:
            deepen(self.net, build_timm(SHALLOWER[name], 0, True))
        self.width: int = self.net.num_features
        self.net.head = nn.Identity()
        self.size = fixed_size(self.net)
        self.adapt = Restandardize(self.net)

    def forward(self, x: Tensor) -> Tensor:
        check_size(x, self.size)
        features = self.net.forward_features(self.adapt(x))
        return fold(features, layout_of(self.net, features, (x.shape[-2], x.shape[-1])))


class Fusion(Classifier):
    """x (B, 3, H, W) -> logits (B, K) of several timm networks.

    H, W multiples of 32 make the means of the stacked maps exactly the streams' pooled vectors; others come near.
    """

    def __init__(self, names: tuple[str, ...], num_classes: int, pretrained: bool = False) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.streams = nn.ModuleList(Stream(name, pretrained) for name in names)
        self.widths = [int(stream.width) for stream in self.streams]  # type: ignore[arg-type]
        self.fused = nn.Identity()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in self.widths)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(sum(self.widths), num_classes)

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = self.fused(stacked([stream(x) for stream in self.streams]))  # (B, sum of widths, h, w)
        parts = maps.mean(dim=(2, 3)).split(self.widths, dim=1)
        pooled = torch.cat([norm(part) for norm, part in zip(self.norms, parts, strict=True)], dim=1)
        return self.classifier(self.dropout(pooled)), [maps]

    @property
    def cam_layer(self) -> nn.Module:
        return self.fused

    @property
    def cam_layers(self) -> tuple[nn.Module, ...]:
        """The streams, each with the grid of its own: what `fused` repeats to one grid has lost its places."""
        return tuple(self.streams)


def stacked(maps: list[Tensor]) -> Tensor:
    """Maps (B, C_i, h_i, w_i) to (B, sum of C_i, h, w) on the finest grid, values repeated: means stay as they are."""
    size = max((tuple(m.shape[-2:]) for m in maps), key=lambda sides: sides[0] * sides[1])
    return torch.cat([m if m.shape[-2:] == size else F.interpolate(m, size=size) for m in maps], dim=1)


def deepen(net: nn.Module, shallower: nn.Module) -> None:
    """Give a pre-activation ResNet the weights of one with fewer blocks per stage; its other blocks become identities.

    Raises RuntimeError if a tensor of the shallower network has another shape.
    """
    weights = shallower.state_dict()
    net.load_state_dict(weights, strict=False)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name not in weights and name.endswith("conv3.weight"):
                parameter.zero_()


def build(name: str, num_classes: int, pretrained: bool = False) -> Fusion:
    return Fusion(TEAMS[name], num_classes, pretrained)
