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

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.distillers.base import Batch, Distiller, View, pooled, softened_kl
from kdlight.distillers.matching import ends

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
        for kept, new in ((self.student, student[last]), (self.teacher, teacher[last])):
            kept[rows] = F.normalize(keep * kept[rows] + (1 - keep) * new.to(kept.dtype), dim=1)
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
    """The student's embedding of an image is told from other images by the teacher's embedding of the same one."""

    name = "crd"
    paper = "Tian et al., ICLR 2020"
    reads = "pooled"
    unlabeled = True

    def __init__(
        self,
        *args: Any,
        beta: float = 0.8,
        bank: int = 4096,
        width: int = 128,
        tau: float = 0.07,
        momentum: float = 0.5,
        alpha: float = 0.0,
        temperature: float = 4.0,
        **kwargs: Any,
    ) -> None:
        """beta: weight of the contrast, 0 or above. bank: images kept to be told from, 1 or above.

        width: of the embedding, 1 or above. tau: how sharply near ones are told apart, above 0.
        momentum: of what is kept, 0 to 1. alpha: share of softened answers, 0 to 1. temperature: of those, above 0.
        """
        super().__init__(*args, **kwargs)
        if beta < 0 or bank < 1 or width < 1 or not tau > 0:
            raise ValueError("crd needs beta of 0 or above, bank and width of 1 or above, and tau above 0.")
        if not 0 <= momentum <= 1 or not 0 <= alpha <= 1 or not temperature > 0:
            raise ValueError("crd needs momentum and alpha in [0, 1], and a temperature above 0.")
        self.beta = beta
        self.tau = tau
        self.momentum = momentum
        self.alpha = alpha
        self.temperature = temperature
        self.student_head = nn.Linear(ends(self.student)[-1].channels, width)
        self.teacher_head = nn.Linear(ends(self.guide)[-1].channels, width)
        self.bank = Bank(bank, width)

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        own = embed(self.student_head, student.features[-1])
        other = embed(self.teacher_head, teacher.features[-1])
        index = self._places(batch)
        self.bank.renew(index, batch.y, own, other, self.momentum)
        allowed = self.bank.negatives(index, batch.y)
        partner = (own * other).sum(dim=1)
        contrast = self._contrast(0, partner, own @ self.bank.teacher.T, allowed)
        contrast = contrast + self._contrast(1, partner, other @ self.bank.student.T, allowed)
        answer = softened_kl(student.logits, teacher.logits, self.temperature)
        return self.beta * contrast + self.alpha * answer

    def _contrast(self, side: int, partner: Tensor, others: Tensor, allowed: Tensor) -> Tensor:
        """nce of one side's anchors; 0 until a first batch has something to be told from."""
        scales, others = self.bank.scales, others.float()
        if float(scales[side]) == 0 and bool(allowed.any()):
            scales[side] = (others.detach()[allowed] / self.tau).exp().mean()
        if float(scales[side]) == 0:
            return partner.sum() * 0
        return nce(partner / self.tau, others / self.tau, allowed, scales[side])

    def _places(self, batch: Batch) -> Tensor:
        """The images' places in the training split; where they are not told, each counts as a new image."""
        if batch.index is not None:
            return batch.index
        return self.bank.owner.max() + 1 + torch.arange(len(batch.y), device=batch.y.device)
