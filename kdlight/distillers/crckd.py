"""CRCKD (Xing et al., MICCAI 2021), https://arxiv.org/abs/2107.03225: relations to classes, from a mean teacher.

L = CE_w + w(t) KL(p_m, p_s) + 0.1 CCD + 1.0 CRP,  w(t) = exp(-5 (1 - t / 30)^2), t in epochs up to 30
The mean teacher m is an average of the student, theta_m <- d theta_m + (1 - d) theta_s, d = min(1 - 1 / (n + 1), 0.99).
CCD, class-guided contrast: embeddings of 128 dimensions and length 1, each against P = 20 positives of its class and
K = 4096 negatives of other classes out of a memory of the other network's embeddings (momentum 0.5), tau = 0.07, once
for the student's embeddings and once for the mean teacher's:
  CCD = -mean_p log(exp(e.p / tau) / (exp(e.p / tau) + sum_k exp(e.n_k / tau)))
CRP, relations to classes: KL(softmax(r_m / tau), softmax(r_s / tau)), r the cosines of an embedding and the class
centroids of its own network's memory.

Ours: the softmax form of CCD (the paper's code estimates it by noise contrast), once with its weight, which the code
applies twice; centroids are plain means, where the code's lie behind a ReLU, which makes CRP some 16 times smaller;
the mean teacher sees the student's own view in eval mode, its batch-norm statistics averaged like weights; the 30 of
the code's 80 epochs are a share of the run, `rampup`, and so are the 20 after which CCD and CRP begin, `begin`; the
memory has a fixed number of places, an image takes the place index mod `memory`, and a batch is remembered before it
is compared, so a memory that is not full yet holds what it needs. Images without a label have no CCD, and neither they
nor a batch without index are remembered. A big teacher has no part in the method: one that is given is not asked.
"""

from __future__ import annotations

import copy
import math
from typing import Annotated, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.contracts.options import Option
from kdlight.distillers.base import Batch, Distiller, View, pooled, softened_kl, update_average, widths
from kdlight.distillers.crd import Tau
from kdlight.distillers.memory import EmbeddingMemory

WIDTH = 128
"""Dimensions of an embedding."""
MOMENTUM = 0.5
"""What a place of the memory keeps of an image's embedding when the image comes again."""


class CRCKD(Distiller):
    name = "crckd"
    summary = "The student follows its average, in output and in how images relate to classes. Needs no big teacher."
    paper = "CRCKD, Xing et al., MICCAI 2021"
    needs = "nothing"
    mixable = False

    ccd: Annotated[float, Option("Weight of the class-guided contrast.", ge=0)] = 0.1
    crp: Annotated[float, Option("Weight of the relations to classes.", ge=0)] = 1.0
    tau: Tau = 0.07
    positives: Annotated[int, Option("Images drawn of an image's own class.", ge=1)] = 20
    negatives: Annotated[int, Option("Images drawn of other classes.", ge=1)] = 4096
    memory: Annotated[int, Option("Images remembered.", ge=1)] = 8192
    rampup: Annotated[
        float, Option("Share of the run until the mean teacher's output has its full weight.", gt=0, le=1)
    ] = 0.375
    begin: Annotated[
        float,
        Option("Share of the run after which images are related to classes.", ge=0, le=1),
    ] = 0.25
    decay: Annotated[float, Option("How slowly the mean teacher follows; near 1 is slow.", ge=0, lt=1)] = 0.99
    steps: Tensor

    def build(self) -> None:
        channels = widths(self.student)[-1]
        self.embed_student, self.embed_mean = nn.Linear(channels, WIDTH), nn.Linear(channels, WIDTH)
        self.bank = EmbeddingMemory(self.memory, WIDTH)
        self.mean_teacher = copy.deepcopy(self.student).eval().requires_grad_(False)
        self.register_buffer("steps", torch.tensor(0))

    def train(self, mode: bool = True) -> Self:
        """As any module, but for the mean teacher, which always answers in eval mode."""
        super().train(mode)
        self.mean_teacher.eval()
        return self

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        with torch.no_grad():
            mean = View(*self.mean_teacher.forward_with_features(batch.x))
        embedding = F.normalize(self.embed_student(pooled(student.features[-1])).float(), dim=1)
        target = F.normalize(self.embed_mean(pooled(mean.features[-1])).float(), dim=1)
        known = batch.y >= 0
        if batch.index is not None:
            self.bank.write(batch.index[known], batch.y[known], embedding[known], target[known], MOMENTUM)
        loss = rise(batch.progress / self.rampup) * softened_kl(student.logits, mean.logits, 1.0)
        if batch.progress < self.begin:
            return loss
        contrast = self.contrast(embedding[known], self.bank.teacher, batch.y[known])
        contrast = contrast + self.contrast(target[known], self.bank.student, batch.y[known])
        return loss + self.ccd * contrast + self.crp * self.relations(embedding, target)

    def contrast(self, embeddings: Tensor, bank: Tensor, y: Tensor) -> Tensor:
        """CCD of embeddings (B, 128) with labels (B,) against the other network's memory."""
        same = self.bank.label[None] == y[:, None]  # (B, places)
        other = (self.bank.label[None] >= 0) & ~same
        return class_contrast(embeddings @ bank.T / self.tau, draw(same, self.positives), draw(other, self.negatives))

    def relations(self, student: Tensor, mean: Tensor) -> Tensor:
        """CRP over the classes that the memory holds; 0 with fewer than two of them."""
        labels = self.bank.label
        banks = (self.bank.student, self.bank.teacher)
        centers, targets = (centroids(bank, labels, self.student.num_classes) for bank in banks)
        present = torch.bincount(labels + 1)[1:].nonzero()[:, 0]
        if len(present) < 2:
            return student.sum() * 0
        return relation_kl(student @ centers[present].T, mean @ targets[present].T, self.tau)

    @torch.no_grad()
    def after_step(self) -> None:
        """The mean teacher takes its step toward the student."""
        decay = min(1 - 1 / (int(self.steps) + 1), self.decay)
        update_average(self.mean_teacher, self.student, decay)
        self.steps += 1


def rise(share: float) -> float:
    """w = exp(-5 (1 - share)^2), share of the ramp, held at 1 after its end."""
    return math.exp(-5 * (1 - min(share, 1.0)) ** 2)


def draw(allowed: Tensor, count: int) -> Tensor:
    """Keep `count` of the True entries of each row (B, N) by chance, all of them where there are no more."""
    if count >= int(allowed.sum(dim=1).max().item() if len(allowed) else 0):
        return allowed
    keys = torch.rand(allowed.shape, device=allowed.device).masked_fill(~allowed, -1)
    least = keys.topk(count, dim=1).values[:, -1:]
    return allowed & (keys >= least)


def class_contrast(scores: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """-log(e^s_p / (e^s_p + sum_n e^s_n)), mean over each image's positives, then over the images.

    scores (B, N), cosines over tau; positive, negative (B, N) masks. An image without either is left out; 0 if all are.
    """
    use = positive.any(dim=1) & negative.any(dim=1)
    if not bool(use.any()):
        return scores.sum() * 0
    scores, positive, negative = scores[use], positive[use], negative[use]
    against = scores.masked_fill(~negative, float("-inf")).logsumexp(dim=1, keepdim=True)  # (B, 1)
    each = F.softplus(against - scores)  # -log(e^s / (e^s + e^against))
    return ((each * positive).sum(dim=1) / positive.sum(dim=1)).mean()


def centroids(bank: Tensor, label: Tensor, classes: int) -> Tensor:
    """Mean embedding of each class, of length 1: (classes, D) from (N, D); zeros for a class that is not there."""
    member = F.one_hot(label.clamp_min(0), classes).to(bank) * (label >= 0)[:, None]
    return F.normalize(member.T @ bank, dim=1)


def relation_kl(student: Tensor, mean: Tensor, tau: float) -> Tensor:
    """KL(softmax(r_m / tau), softmax(r_s / tau)) of cosines (B, K) to class centroids, mean over the batch."""
    return softened_kl(student, mean.detach(), tau) / tau**2
