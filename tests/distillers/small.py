"""A network of a few hundred parameters that keeps a classifier's contract: the methods' tests need no more."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdlight.distillers import Distiller, create_distiller
from kdlight.models import Classifier


class Small(Classifier):
    """One strided convolution, batch norm, pooling, one linear layer. x (B, 3, S, S) -> logits (B, classes)."""

    def __init__(self, width: int, classes: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_classes = classes
        self.body = nn.Sequential(nn.Conv2d(3, width, 5, stride=4), nn.BatchNorm2d(width), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, classes)

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = self.body(x)
        return self.classifier(self.dropout(maps.mean((2, 3)))), [maps]

    @property
    def cam_layer(self) -> nn.Module:
        return self.body


def small(method: str, classes: int = 3, dropout: float = 0.0, **options: float | str) -> Distiller:
    """The method on a student of 5 channels and a teacher of 7, whose answers differ from image to image."""
    torch.manual_seed(0)
    student, teacher = Small(5, classes, dropout), Small(7, classes)
    with torch.no_grad():
        for model in (student, teacher):
            model.classifier.weight.mul_(8)
    return create_distiller(method, student, teacher, **options)


def pictures(count: int, seed: int = 1) -> Tensor:
    """Standardized noise (count, 3, 20, 20)."""
    return torch.randn(count, 3, 20, 20, generator=torch.Generator().manual_seed(seed))
