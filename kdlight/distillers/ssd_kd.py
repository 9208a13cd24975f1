"""SSD-KD (Wang et al., 2022), https://arxiv.org/abs/2203.11490: dual relations and self-supervised views.

L = (1 - alpha) CE_w + alpha T^2 KL(z_t, z_s) + 2.7 T^2 KL of rotated views
    + 10 tau^2 KL(softmax(S_t / tau), softmax(S_s / tau)) + 25 RKD_distance + 50 RKD_angle + 1000 sqrt(MSE(G_t, G_s))
with alpha = 0.9, T = 4, tau = 0.5 as published. S_ij is the cosine between rotated view i and upright view j; RKD (Park
et al. 2019) compares the distances and angles among an image batch in pooled features; G = F F^T / (C H W) per image.

Ours: each image is turned by one angle drawn from 90, 180 and 270 degrees, where the paper's code turns it by all
three, so a batch costs two passes and not four; S is taken from pooled features, without the projection heads that the
code trains on the teacher beforehand, and of all its rows, where the code drops a quarter of those that the teacher
itself ranks wrongly; distances and angles are those of the upright images, where the code has all four views; a 1x1
convolution that learns along lifts the student's maps to the teacher's channels before G, without the code's batch norm
and ReLU, so that a channel may be below 0 as the teacher's are before their activation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.contracts.options import Option
from kdlight.distillers.base import Alpha, Batch, Distiller, Temperature, View, pooled, softened_kl, widths
from kdlight.distillers.rkd import AngleWeight, DistanceWeight, angles, distances

EPS = 1e-12
"""Under a root, whose slope at 0 has no end."""


class SSDKD(Distiller):
    name = "ssd_kd"
    summary = "The teacher's output on upright and turned images, and how it relates images and channels to each other."
    paper = "SSD-KD, Wang et al. 2022"
    needs = "features"

    alpha: Alpha = 0.9
    temperature: Temperature = 4.0
    rotated: Annotated[float, Option("Weight of the teacher's output on turned images.", ge=0)] = 2.7
    similarity: Annotated[float, Option("Weight of the cosines between turned and upright images.", ge=0)] = 10.0
    tau: Annotated[float, Option("Temperature of the cosines: smaller is sharper.", gt=0)] = 0.5
    distance: DistanceWeight = 25.0
    angle: AngleWeight = 50.0
    gram: Annotated[float, Option("Weight of the relations among channels.", ge=0)] = 1000.0

    def build(self) -> None:
        self.lift = nn.Conv2d(widths(self.student)[-1], widths(self.teacher_model)[-1], 1, bias=False)

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        loss = self.alpha * softened_kl(student.logits, teacher.logits, self.temperature)
        return loss + self.relations(student, teacher) + self.turned(student, teacher, batch)

    def relations(self, student: View, teacher: View) -> Tensor:
        """The dual relational loss: among the images of the batch, and among the channels of each image."""
        maps, target = student.features[-1], teacher.features[-1].float()
        means, target_means = pooled(maps).float(), pooled(target)
        loss = self.distance * F.smooth_l1_loss(distances(means), distances(target_means))
        loss = loss + self.angle * F.smooth_l1_loss(angles(means), angles(target_means))
        return loss + self.gram * gram_loss(self.lift(maps), target)

    def turned(self, student: View, teacher: View, batch: Batch) -> Tensor:
        """The answers on turned images, and the similarity of turned images to upright ones."""
        if not self.rotated and not self.similarity:
            return student.logits.new_zeros(())
        x = turn(batch.x, torch.randint(1, 4, (len(batch.x),), device=batch.x.device))
        turned = View(*self.student.forward_with_features(x))
        target = self.teacher_view(replace(batch, x=x, teacher=None))
        loss = self.rotated * softened_kl(turned.logits, target.logits, self.temperature)
        similar = cosines(pooled(turned.features[-1]), pooled(student.features[-1]))
        target_similar = cosines(pooled(target.features[-1]), pooled(teacher.features[-1]))
        return loss + self.similarity * softened_kl(similar, target_similar, self.tau)


def turn(x: Tensor, quarters: Tensor) -> Tensor:
    """Images (B, C, S, S), each turned counterclockwise by its number (B,) of quarter turns."""
    turned = x.clone()
    for quarter in range(1, 4):
        chosen = quarters == quarter
        turned[chosen] = torch.rot90(x[chosen], quarter, (2, 3))
    return turned


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of every row of (A, C) with every row of (B, C): (A, B), -1 to 1."""
    return F.normalize(first.float(), dim=1) @ F.normalize(second.float(), dim=1).T


def gram_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """sqrt(MSE(F_s F_s^T / (C H_s W_s), F_t F_t^T / (C H_t W_t))) of maps (B, C, h, w) with as many channels.

    |G_s - G_t|^2 = |F_s^T F_s|^2 + |F_t^T F_t|^2 - 2 |F_s^T F_t|^2, so that no (C, C) matrix is ever made.
    """
    batch, channels = student.shape[:2]
    with torch.autocast(student.device.type, enabled=False):
        s, t = (maps.float().flatten(2) / (maps[0].numel() ** 0.5) for maps in (student, teacher))  # (B, C, hw)
        squares = [(a.transpose(1, 2) @ b).square().sum() for a, b in ((s, s), (t, t), (s, t))]
    error = (squares[0] + squares[1] - 2 * squares[2]) / (batch * channels**2)
    root: Tensor = (error.clamp_min(0) + EPS).sqrt()
    return root
