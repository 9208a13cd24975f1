"""KD with feature projection: the student's pooled features, projected, follow the teacher's.

The feature term is the first stage of EFCM (2024, https://arxiv.org/abs/2409.11817), ||Proj(f_s) - f_t||, here as a
smooth L1 distance of pooled features that were standardized by the teacher's own spread (our choice: the source leaves
the distance open), and it is joined with Hinton's loss rather than run before it.
L = (1 - alpha) CE + alpha T^2 KL + gamma smooth_L1(Proj(f_s), f_t)
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.contracts.options import Option
from kdlight.distillers.base import Alpha, Batch, Distiller, Needs, Temperature, View, pooled, softened_kl, widths


class FeatureKD(Distiller):
    name = "feature"
    summary = "The teacher's output and the features that led to it."
    paper = "EFCM 2024, stage 1, with Hinton KD"
    needs: ClassVar[Needs] = "pooled"

    alpha: Alpha = 0.7
    temperature: Temperature = 4.0
    gamma: Annotated[
        float,
        Option(
            "How strongly the student is drawn to what the teacher sees in an image, not only to its output. 0 leaves "
            "that out; the shipped pairs use 5.",
            ge=0,
        ),
    ] = 1.0

    def build(self) -> None:
        self.projection = nn.Linear(widths(self.student)[-1], widths(self.teacher_model)[-1])

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        loss = self.alpha * softened_kl(student.logits, teacher.logits, self.temperature)
        target = standardized(pooled(teacher.features[-1].float()))
        return loss + self.gamma * F.smooth_l1_loss(self.projection(pooled(student.features[-1])).float(), target)


def standardized(features: Tensor) -> Tensor:
    """Features (B, C) less their mean over the batch, divided by the batch's overall spread; zeros stay finite."""
    centered = features - features.mean(dim=0, keepdim=True)
    return centered / centered.square().mean().sqrt().clamp_min(1e-6)
