"""Any timm classifier by the name `timm:<name>` (Apache-2.0, https://github.com/huggingface/pytorch-image-models)."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

from kdlight.models.base import Classifier


class TimmClassifier(Classifier):
    """A timm network behind this package's contract. Token outputs (B, N, C) are folded to maps (B, C, h, w)."""

    def __init__(self, name: str, num_classes: int, pretrained: bool = False, **options: Any) -> None:
        super().__init__()
        if name not in timm.list_models():
            close = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "see timm.list_models()"
            raise ValueError(f"timm has no model {name!r}. Known and near: {close}.")
        self.num_classes = num_classes
        self.net: Any = timm.create_model(name, pretrained=pretrained, num_classes=num_classes, **options)
        self.final = nn.Identity()

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = self.net.forward_features(x)
        maps = self.final(self._as_maps(features, x))
        return self.net.forward_head(self._as_features(maps, features)), [maps]

    @property
    def cam_layer(self) -> nn.Module:
        return self.final

    def _as_maps(self, features: Tensor, x: Tensor) -> Tensor:
        """(B, C, h, w), or (B, h, w, C), or tokens (B, prefix + h * w, C) to (B, C, h, w)."""
        if features.dim() == 4:
            channels_first = features.shape[1] == self.net.num_features
            return features if channels_first else features.permute(0, 3, 1, 2)
        prefix = getattr(self.net, "num_prefix_tokens", 0)
        tokens = features[:, prefix:]
        side = round(tokens.shape[1] ** 0.5)
        if side * side != tokens.shape[1]:
            raise ValueError(f"{tokens.shape[1]} tokens do not form a square map; give a square input.")
        return tokens.transpose(1, 2).reshape(len(x), -1, side, side)

    def _as_features(self, maps: Tensor, like: Tensor) -> Tensor:
        """Maps (B, C, h, w) back to the layout that the network's own head reads; prefix tokens are kept."""
        if like.dim() == 4:
            return maps if like.shape[1:] == maps.shape[1:] else maps.permute(0, 2, 3, 1)
        prefix = getattr(self.net, "num_prefix_tokens", 0)
        tokens = maps.flatten(2).transpose(1, 2)
        return tokens if not prefix else torch.cat([like[:, :prefix], tokens], dim=1)
