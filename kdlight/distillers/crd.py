"""Contrastive representation distillation, CRD (Tian et al., ICLR 2020), https://arxiv.org/abs/1910.10699.

Both networks embed an image on the unit sphere; the two embeddings of one image should be told from those of others.
For an anchor a, its partner p from the other network and N negatives n, with h(s) = e^(s / tau) / (e^(s / tau) + N c):
L = (1 - alpha) CE + alpha T^2 KL + beta (nce(student anchors) + nce(teacher anchors)),
nce = mean over anchors of -log h(a p) - sum_n log(1 - h(a n))
c is the mean of e^(s / tau) in the first batch, then fixed: the authors' code normalizes by it, the paper's equation
has N over the number of training images there. Negatives are kept images of another class, as in their code; images
without a label take all others. Ours: all of the bank serves (N differs by anchor), the partner is this batch's
embedding, so that a row of the bank may be shared, and features are centered before they are embedded: after a ReLU all
images point one way, and the first steps would only chase that.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.distillers.base import Alpha, Batch, Distiller, Temperature, View, pooled, softened_kl
from kdlight.distillers.matching import ends
from kdlight.options import Option

EMPTY = -1
"""Owner of a row that no image has taken yet."""


def nce(partner: Tensor, others: Tensor, allowed: Tensor, scale: Tensor) -> Tensor:
    """The loss above, of similarities divided by tau: partner (B,), others (B, N), which of them count, and c."""
    count = allowed.sum(dim=1)  # (B,)
    threshold = (count.clamp_min(1) * scale).log()
    right = F.logsigmoid(partner - threshold)
    wrong = F.logsigmoid(threshold[:, None] - others).masked_fill(~allowed, 0).sum(dim=1)
    return -(right + wrong).mean()


class Bank(nn.Module):
    """What both networks last made of the training images: embeddings of unit length, one row per image.

    Image `index` has row `index` modulo the number of rows, so no size of the training set need be known: with fewer
    rows than images the latest of those that share a row stands there. All of it is buffers, kept in checkpoints.
    """

    student: Tensor
    teacher: Tensor
    owner: Tensor
    labels: Tensor
    scales: Tensor

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.register_buffer("student", torch.zeros(rows, width))
        self.register_buffer("teacher", torch.zeros(rows, width))
        self.register_buffer("owner", torch.full((rows,), EMPTY))
        self.register_buffer("labels", torch.full((rows,), -1))
        self.register_buffer("scales", torch.zeros(2))  # c for student and teacher anchors; 0: not known yet

    @torch.no_grad()
    def renew(self, index: Tensor, y: Tensor, student: Tensor, teacher: Tensor, momentum: float) -> None:
        """Move the rows of images (B,) to their new embeddings (B, width), by 1 - momentum where they had one."""
        rows, order = torch.unique(index % len(self.owner), return_inverse=True)
        last = torch.empty_like(rows).scatter_(0, order, torch.arange(len(index), device=index.device))
        keep = momentum * (self.owner[rows] == index[last])[:, None]
        for bank, new in ((self.student, student[last]), (self.teacher, teacher[last])):
            bank[rows] = F.normalize(keep * bank[rows] + (1 - keep) * new.to(bank.dtype), dim=1)
        self.owner[rows], self.labels[rows] = index[last], y[last]

    def negatives(self, index: Tensor, y: Tensor) -> Tensor:
        """Which rows an image may be told from, bool (B, rows): of other images, of other classes where known."""
        unknown = (y[:, None] < 0) | (self.labels < 0)
        other = (self.owner != EMPTY) & (self.owner != index[:, None])
        return other & (unknown | (self.labels != y[:, None]))


def embed(head: nn.Module, maps: Tensor) -> Tensor:
    """Embeddings (B, width) of unit length, of feature maps (B, C, h, w): pooled, centered, scaled as a whole."""
    features = pooled(maps.float())
    centered = features - features.mean(dim=0)
    spread = centered.square().mean().clamp_min(1e-24).sqrt()
    return F.normalize(head(centered / spread).float(), dim=1)


class CRD(Distiller):
    name = "crd"
    summary = "The student's embedding of an image is told from other images by the teacher's of the same one."
    paper = "Tian et al., ICLR 2020"
    needs = "pooled"
    unlabeled = True

    beta: Annotated[float, Option("Weight of the contrast beside the loss of the labels.", ge=0)] = 0.8
    bank: Annotated[int, Option("Images whose embeddings are kept to be told from.", ge=1)] = 4096
    width: Annotated[int, Option("Dimensions of an embedding.", ge=1)] = 128
    tau: Annotated[float, Option("How sharply near and far are told apart: smaller is sharper.", gt=0)] = 0.07
    momentum: Annotated[
        float, Option("How slowly a kept embedding follows what is new: near 1 is slow and steady.", ge=0, le=1)
    ] = 0.5
    alpha: Alpha = 0.0
    temperature: Temperature = 4.0

    def build(self) -> None:
        self.student_head = nn.Linear(ends(self.student)[-1].channels, self.width)
        self.teacher_head = nn.Linear(ends(self.teacher_model)[-1].channels, self.width)
        self.embeddings = Bank(self.bank, self.width)

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        anchors = embed(self.student_head, student.features[-1])
        targets = embed(self.teacher_head, teacher.features[-1])
        index = self._places(batch)
        self.embeddings.renew(index, batch.y, anchors, targets, self.momentum)
        allowed = self.embeddings.negatives(index, batch.y)
        partner = (anchors * targets).sum(dim=1)
        contrast = self._contrast(0, partner, anchors @ self.embeddings.teacher.T, allowed)
        contrast = contrast + self._contrast(1, partner, targets @ self.embeddings.student.T, allowed)
        return self.beta * contrast + self.alpha * softened_kl(student.logits, teacher.logits, self.temperature)

    def _contrast(self, side: int, partner: Tensor, others: Tensor, allowed: Tensor) -> Tensor:
        """nce of one side's anchors; 0 until a first batch has something to be told from."""
        scales, others = self.embeddings.scales, others.float()
        if float(scales[side]) == 0 and bool(allowed.any()):
            scales[side] = (others.detach()[allowed] / self.tau).exp().mean()
        if float(scales[side]) == 0:
            return partner.sum() * 0
        return nce(partner / self.tau, others / self.tau, allowed, scales[side])

    def _places(self, batch: Batch) -> Tensor:
        """The images' places in the training split; where they are not told, each counts as a new image."""
        if batch.index is not None:
            return batch.index
        return self.embeddings.owner.max() + 1 + torch.arange(len(batch.y), device=batch.y.device)
