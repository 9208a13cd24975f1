"""KD with feature projection: the student's pooled features, projected, follow the teacher's.

The feature term is the first stage of EFCM (2024, https://arxiv.org/abs/2409.11817), ||Proj(f_s) - f_t||, here as a
smooth L1 distance of pooled features that were standardised by the teacher's own spread (our choice: the source leaves
the distance open), and it is joined with Hinton's loss rather than run before it.
L = (1 - alpha) CE + alpha T^2 KL + gamma smooth_L1(Proj(f_s), f_t)
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.distillers.base import Batch, Distiller, View, pooled, softened_kl, widths


class FeatureKD(Distiller):
    """The teacher's answer and the view that led to it."""

    name = "feature"
    paper = "EFCM 2024, stage 1, with Hinton KD"
    reads = "pooled"
    unlabeled = True

    def __init__(
        self, *args: Any, alpha: float = 0.7, temperature: float = 4.0, gamma: float = 1.0, **kwargs: Any
    ) -> None:
        """alpha: share of the softened answer, 0 to 1. temperature: above 0. gamma: of the features, 0 or above."""
        super().__init__(*args, **kwargs)
        if not 0 <= alpha <= 1 or not temperature > 0 or gamma < 0:
            raise ValueError("feature needs alpha in [0, 1], temperature above 0 and gamma of 0 or above.")
        self.alpha = alpha
        self.temperature = temperature
        self.gamma = gamma
        self.projection = nn.Linear(widths(self.student)[-1], widths(self.guide)[-1])

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        answer = self.alpha * softened_kl(student.logits, teacher.logits, self.temperature)
        target = standardised(pooled(teacher.features[-1].float()))
        return answer + self.gamma * F.smooth_l1_loss(self.projection(pooled(student.features[-1])).float(), target)


def standardised(features: Tensor) -> Tensor:
    """Features (B, C) less their mean over the batch, divided by the batch's overall spread; zeros stay finite."""
    centred = features - features.mean(dim=0, keepdim=True)
    return centred / centred.square().mean().sqrt().clamp_min(1e-6)
