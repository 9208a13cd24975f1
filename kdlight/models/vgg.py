"""vgg19: a teacher of the explainable distillation system (Mir and Rizvi, arXiv 2508.15251).

Simonyan and Zisserman, ICLR 2015, https://arxiv.org/abs/1409.1556. This is the plain network that the paper names and
that torchvision and timm publish: no batch norm, three dense layers, 143,667,240 parameters at 1000 classes, of which
the first dense layer holds 103M. It is kept whole so that published weights fill all of it but the last layer.
Ours: inputs that leave fewer than 7 x 7 positions (under 224 px) have their map stretched to 7 x 7, as timm does, so
that the dense layers read any size from 32 px; dropout 0.5 between them is the VGG paper's.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kdlight.models.zoo import TimmClassifier

DENSE = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
"""torchvision's dense layers -> timm's, which are convolutions over the last map."""


class VGG19(TimmClassifier):
    """x (B, 3, H, W) -> logits (B, K); H, W at least 32. Its maps are those before the last max-pooling."""

    def __init__(self, num_classes: int, pretrained: bool = False, **options: Any) -> None:
        super().__init__("vgg19", num_classes, pretrained, drop_rate=0.5, **options)

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features, last = self.net.features[:-1], self.net.features[-1]
        maps = self.final(features(x))  # (B, 512, H / 16, W / 16): conv5 of Selvaraju et al.
        return self.net.forward_head(last(maps)), [maps]

    def from_elsewhere(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state dict of torchvision, timm or kdlight, under the names and shapes that it has here."""
        expected = self.net.state_dict()
        renamed = {}
        for name, tensor in state.items():
            layer, _, kind = name.rpartition(".")
            ours = f"{DENSE.get(layer, layer)}.{kind}"
            dense = layer in DENSE and ours in expected and tensor.numel() == expected[ours].numel()
            renamed[ours] = tensor.reshape(expected[ours].shape) if dense else tensor
        return super().from_elsewhere(renamed)


def build(name: str, num_classes: int, pretrained: bool = False) -> VGG19:
    return VGG19(num_classes, pretrained)
