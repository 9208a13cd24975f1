"""Relational knowledge distillation (Park et al., CVPR 2019), https://arxiv.org/abs/1904.05068.

Not what the features are but how the images of a batch lie to each other: for pooled features f,
distance  psi(i, j) = |f_i - f_j| / mean of all such distances,
angle     phi(i, j, k) = cosine of the angle at j between f_i and f_k,
L = (1 - alpha) CE + alpha T^2 KL + distance mean l(psi_s, psi_t) + angle mean l(phi_s, phi_t), l the Huber loss.
Distances do not change with scale and angles not with scale or rotation, so the widths of the networks may differ. The
paper's weights are 25 and 50; alpha, for its combination with Hinton's loss, is 0 unless asked for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kdlight.distillers.base import Batch, Distiller, View, pooled, softened_kl


def distances(features: Tensor) -> Tensor:
    """Distances (B, B) between rows of features (B, C), divided by the mean of those between two different rows."""
    count = len(features)
    squared = (features[:, None] - features[None]).square().sum(dim=2)  # (B, B)
    other = 1 - torch.eye(count, device=features.device)
    found = squared.clamp_min(1e-12).sqrt() * other
    return found * max(1, count * (count - 1)) / found.sum().clamp_min(1e-6)


def angles(features: Tensor) -> Tensor:
    """Cosines (B, B, B): at [j, i, k] of the angle at image j between images i and k; 0 where two of them are one."""
    directions = F.normalize(features[None] - features[:, None], dim=2)  # (B, B, C), from j to i
    return directions @ directions.transpose(1, 2)


class RKD(Distiller):
    """The student places the images of a batch to each other as the teacher does."""

    name = "rkd"
    paper = "Park et al., CVPR 2019"
    reads = "pooled"
    unlabeled = True

    def __init__(
        self,
        *args: Any,
        distance: float = 25.0,
        angle: float = 50.0,
        alpha: float = 0.0,
        temperature: float = 4.0,
        **kwargs: Any,
    ) -> None:
        """distance, angle: weights of the two relations, 0 or above. alpha: share of softened answers, 0 to 1.

        temperature: of those answers, above 0.
        """
        super().__init__(*args, **kwargs)
        if distance < 0 or angle < 0 or not 0 <= alpha <= 1 or not temperature > 0:
            raise ValueError("rkd needs distance and angle of 0 or above, alpha in [0, 1] and temperature above 0.")
        self.distance = distance
        self.angle = angle
        self.alpha = alpha
        self.temperature = temperature

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        own, other = (pooled(view.features[-1].float()) for view in (student, teacher))
        far = F.smooth_l1_loss(distances(own), distances(other))
        turned = F.smooth_l1_loss(angles(own), angles(other))
        answer = softened_kl(student.logits, teacher.logits, self.temperature)
        return self.distance * far + self.angle * turned + self.alpha * answer
