"""Attention transfer (Zagoruyko & Komodakis, ICLR 2017), https://arxiv.org/abs/1612.03928.

Where a stage is active: the mean of squared channels, as a vector q of unit length over the places of the map.
L = (1 - alpha) CE + alpha T^2 KL + beta sum_stages mean (q_s - q_t)^2
beta is 1000, as the authors' code trains; the half of the paper's formula is not in it. Stages are paired by
resolution, see `kdlight.distillers.matching`; of two maps of different size the larger one's channels are averaged
down before they are squared, as in the usual code of the field. Across families of networks this can lose points
(ResNet50 to MobileNetV2 on CIFAR-100: 58.6 against 64.6 without any teacher), so it is nobody's default: try it, then
compare.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor
from torch.nn import functional as F

from kdlight.contracts.options import Option
from kdlight.distillers.base import Alpha, Batch, Distiller, Temperature, View, softened_kl
from kdlight.distillers.matching import pairs


def attention(maps: Tensor, height: int, width: int) -> Tensor:
    """Feature maps (B, C, h, w) to attention (B, height * width) of unit length; height and width at most h and w."""
    active = F.adaptive_avg_pool2d(maps.float(), (height, width)).square().mean(dim=1)
    return F.normalize(active.flatten(1), dim=1)


def attention_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared difference of the attention of two stages; maps (B, C, h, w), of any C, h and w each."""
    size = [min(a, b) for a, b in zip(student.shape[2:], teacher.shape[2:], strict=True)]
    return F.mse_loss(attention(student, *size), attention(teacher, *size))


class Attention(Distiller):
    name = "attention"
    summary = "The student looks where the teacher looks, stage by stage; can lose points between unlike networks."
    paper = "Zagoruyko & Komodakis, ICLR 2017"
    needs = "features"

    beta: Annotated[float, Option("Weight of the attention beside the loss of the labels.", ge=0)] = 1000.0
    alpha: Alpha = 0.0
    temperature: Temperature = 4.0

    def build(self) -> None:
        self.pairs = [(a.index, b.index) for a, b in pairs(self.student, self.teacher_model)]

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        loss = self.alpha * softened_kl(student.logits, teacher.logits, self.temperature)
        for index, partner in self.pairs:
            loss = loss + self.beta * attention_distance(student.features[index], teacher.features[partner])
        return loss
