"""Logit standardization in KD (Sun et al., CVPR 2024), https://arxiv.org/abs/2403.01427.

Each image's logits are brought to mean 0 and deviation 1 before they are softened, so the student need not reach the
teacher's range, only its relations: Z(z) = (z - mean_k z) / std_k z,
L = (1 - alpha) CE + weight T^2 KL(softmax(Z(z_t) / T) || softmax(Z(z_s) / T))
The paper's weights are alpha = 0.9, weight = 9, T = 2 on sets of 100 classes and more. Standardized logits of K classes
reach sqrt(K - 1) at most, so few classes want a lower T. Two of them are always -1 and 1: that tells only which is
larger and has no gradient, so the method asks for three or more.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kdlight.distillers.base import Batch, Distiller, View, softened_kl


def standardized(logits: Tensor) -> Tensor:
    """Logits (B, K) less each row's mean, divided by its deviation (over K); rows of equal logits become 0."""
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / centred.square().mean(dim=1, keepdim=True).clamp_min(1e-12).sqrt()


class LogitStandard(Distiller):
    """KD on logits that were standardized per image: the shape of an answer counts, its range does not."""

    name = "logit_standard"
    paper = "Sun et al., CVPR 2024"
    reads = "logits"
    unlabeled = True
    tasks = ("multi-class",)

    def __init__(
        self, *args: Any, alpha: float = 0.9, weight: float = 9.0, temperature: float = 2.0, **kwargs: Any
    ) -> None:
        """alpha: share that the labels give up, 0 to 1. weight: of the distillation, 0 or above.

        temperature: above 0; fewer classes want a lower one.
        """
        super().__init__(*args, **kwargs)
        if not 0 <= alpha <= 1 or weight < 0 or not temperature > 0:
            raise ValueError("logit_standard needs alpha in [0, 1], weight of 0 or above and temperature above 0.")
        self.alpha = alpha
        self.weight = weight
        self.temperature = temperature

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        own, other = (standardized(view.logits.float()) for view in (student, teacher))
        return self.weight * softened_kl(own, other, self.temperature)
