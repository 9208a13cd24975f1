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

from kdlight.contracts.options import Option
from kdlight.distillers.base import Alpha, Batch, Distiller, Temperature, View, pooled, softened_kl
from kdlight.distillers.matching import ends
from kdlight.distillers.memory import EMPTY, EmbeddingMemory

Tau = Annotated[float, Option("How sharply near and far are told apart: smaller is sharper.", gt=0)]


def nce(partner: Tensor, others: Tensor, allowed: Tensor, scale: Tensor) -> Tensor:
    """The loss above, of similarities divided by tau: partner (B,), others (B, N), which of them count, and c."""
    count = allowed.sum(dim=1)  # (B,)
    threshold = (count.clamp_min(1) * scale).log()
    right = F.logsigmoid(partner - threshold)
    wrong = F.logsigmoid(threshold[:, None] - others).masked_fill(~allowed, 0).sum(dim=1)
    return -(right + wrong).mean()


def negatives(memory: EmbeddingMemory, index: Tensor, y: Tensor) -> Tensor:
    """Which places an image may be told from, bool (B, places): of other images, of other classes where known."""
    unknown = (y[:, None] < 0) | (memory.label < 0)
    other = (memory.image != EMPTY) & (memory.image != index[:, None])
    return other & (unknown | (memory.label != y[:, None]))


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
    mixable = False

    beta: Annotated[float, Option("Weight of the contrast beside the loss of the labels.", ge=0)] = 0.8
    bank: Annotated[int, Option("Images whose embeddings are kept to be told from.", ge=1)] = 4096
    width: Annotated[int, Option("Dimensions of an embedding.", ge=1)] = 128
    tau: Tau = 0.07
    momentum: Annotated[
        float, Option("How slowly a kept embedding follows what is new: near 1 is slow and steady.", ge=0, le=1)
    ] = 0.5
    alpha: Alpha = 0.0
    temperature: Temperature = 4.0
    scales: Tensor

    def build(self) -> None:
        self.student_head = nn.Linear(ends(self.student)[-1].channels, self.width)
        self.teacher_head = nn.Linear(ends(self.teacher_model)[-1].channels, self.width)
        self.memory = EmbeddingMemory(self.bank, self.width)
        self.register_buffer("scales", torch.zeros(2))  # c for student and teacher anchors; 0: not known yet

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        anchors = embed(self.student_head, student.features[-1])
        targets = embed(self.teacher_head, teacher.features[-1])
        index = self._places(batch)
        self.memory.write(index, batch.y, anchors, targets, self.momentum)
        allowed = negatives(self.memory, index, batch.y)
        partner = (anchors * targets).sum(dim=1)
        contrast = self._contrast(0, partner, anchors @ self.memory.teacher.T, allowed)
        contrast = contrast + self._contrast(1, partner, targets @ self.memory.student.T, allowed)
        return self.beta * contrast + self.alpha * softened_kl(student.logits, teacher.logits, self.temperature)

    def _contrast(self, side: int, partner: Tensor, others: Tensor, allowed: Tensor) -> Tensor:
        """nce of one side's anchors; 0 until a first batch has something to be told from."""
        scales, others = self.scales, others.float()
        if float(scales[side]) == 0 and bool(allowed.any()):
            scales[side] = (others.detach()[allowed] / self.tau).exp().mean()
        if float(scales[side]) == 0:
            return partner.sum() * 0
        return nce(partner / self.tau, others / self.tau, allowed, scales[side])

    def _places(self, batch: Batch) -> Tensor:
        """The images' places in the training split; where they are not told, each counts as a new image."""
        if batch.index is not None:
            return batch.index
        return self.memory.image.max() + 1 + torch.arange(len(batch.y), device=batch.y.device)
