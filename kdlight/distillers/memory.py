"""What two networks last made of the training images, for methods that compare a batch with more than itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EMPTY = -1
"""Image and label of a place that no image has taken yet."""


class EmbeddingMemory(nn.Module):
    """Embeddings (places, width) of unit length by the student and by what teaches it, with class and image.

    Image `index` has place `index` modulo the number of places, so no size of the training set need be known: with
    fewer places than images the latest of those that share one stands there. All of it is buffers, kept in checkpoints.
    """

    student: Tensor
    teacher: Tensor
    label: Tensor
    image: Tensor

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        for name in ("student", "teacher"):
            self.register_buffer(name, torch.zeros(places, width))
        for name in ("label", "image"):
            self.register_buffer(name, torch.full((places,), EMPTY))

    @torch.no_grad()
    def write(self, index: Tensor, y: Tensor, student: Tensor, teacher: Tensor, momentum: float) -> None:
        """Move the places of images (B,) to their new embeddings (B, width), by 1 - momentum where they had one."""
        places, order = torch.unique(index % len(self.image), return_inverse=True)
        last = torch.empty_like(places).scatter_(0, order, torch.arange(len(index), device=index.device))
        keep = momentum * (self.image[places] == index[last])[:, None]
        for bank, new in ((self.student, student[last]), (self.teacher, teacher[last])):
            bank[places] = F.normalize(keep * bank[places] + (1 - keep) * new.to(bank.dtype), dim=1)
        self.image[places], self.label[places] = index[last], y[last]
