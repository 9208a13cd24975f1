"""Relational knowledge distillation (Park et al., CVPR 2019), https://arxiv.org/abs/1904.05068.

Not what the features are but how the images of a batch lie to each other: for pooled features f,
distance  psi(i, j) = |f_i - f_j| / mean of all such distances,
angle     phi(i, j, k) = cosine of the angle at j between f_i and f_k,
L = (1 - alpha) CE + alpha T^2 KL + distance mean l(psi_s, psi_t) + angle mean l(phi_s, phi_t), l the Huber loss.
Distances do not change with scale and angles not with scale or rotation, so the widths of the networks may differ. The
paper's weights are 25 and 50; alpha, for its combination with Hinton's loss, is 0 unless asked for.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from kdlight.contracts.options import Option
from kdlight.distillers.base import Alpha, Batch, Distiller, Temperature, View, pooled, softened_kl

EQUAL = 1e-10
"""Rows whose squared distance is at most this share of their mean squared length are one: the slope of a distance at 0,
and of a direction without a length, has no bound (5e9 in the reference code), and says nothing."""
DistanceWeight = Annotated[float, Option("Weight of the distances among the images of a batch.", ge=0)]
AngleWeight = Annotated[float, Option("Weight of the angles among the images of a batch.", ge=0)]


def distances(features: Tensor) -> Tensor:
    """Distances (B, B) between rows of features (B, C), divided by the mean of those between two different rows."""
    count = len(features)
    squared = (features[:, None] - features[None]).square().sum(dim=2)  # (B, B)
    other = 1 - torch.eye(count, device=features.device)
    same = squared <= EQUAL * features.detach().square().sum(dim=1).mean()
    lengths = squared.masked_fill(same, 1).sqrt() * other.masked_fill(same, 0)
    return lengths * max(1, count * (count - 1)) / lengths.sum().clamp_min(1e-6)


def angles(features: Tensor) -> Tensor:
    """Cosines (B, B, B): at [j, i, k] of the angle at image j between images i and k; 0 where two of them are one."""
    apart = features[None] - features[:, None]  # (B, B, C), from j to i
    squared = apart.square().sum(dim=2, keepdim=True)
    same = squared <= EQUAL * features.detach().square().sum(dim=1).mean()
    directions = apart.masked_fill(same, 0) * squared.masked_fill(same, 1).rsqrt()
    return directions @ directions.transpose(1, 2)


class RKD(Distiller):
    name = "rkd"
    summary = "The student places the images of a batch to each other as the teacher does."
    paper = "Park et al., CVPR 2019"
    needs = "pooled"

    distance: DistanceWeight = 25.0
    angle: AngleWeight = 50.0
    alpha: Alpha = 0.0
    temperature: Temperature = 4.0

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        features, target = (pooled(view.features[-1].float()) for view in (student, teacher))
        loss = self.distance * F.smooth_l1_loss(distances(features), distances(target))
        loss = loss + self.angle * F.smooth_l1_loss(angles(features), angles(target))
        return loss + self.alpha * softened_kl(student.logits, teacher.logits, self.temperature)
