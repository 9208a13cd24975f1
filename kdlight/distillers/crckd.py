"""CRCKD (Xing et al., MICCAI 2021), https://arxiv.org/abs/2107.03225: relations to classes, from a mean teacher.

L = CE_w + w(t) KL(p_m, p_s) + 0.1 CCD + 1.0 CRP,  w(t) = exp(-5 (1 - t / 30)^2), t in epochs up to 30
The mean teacher m is an average of the student, theta_m <- d theta_m + (1 - d) theta_s, d = min(1 - 1 / (n + 1), 0.99).
CCD, class-guided contrast: embeddings of 128 dimensions and length 1, each against P = 20 positives of its class and
K = 4096 negatives of other classes out of a memory of the other network's embeddings (momentum 0.5), tau = 0.07, once
for the student's embeddings and once for the mean teacher's:
  CCD = -mean_p log(exp(e.p / tau) / (exp(e.p / tau) + sum_k exp(e.n_k / tau)))
CRP, relations to classes: KL(softmax(r_m / tau), softmax(r_s / tau)), r the cosines of an embedding and the class
centroids of its own network's memory.

Ours: the softmax form of CCD (the paper's code estimates it by noise contrast); centroids are plain means; the mean
teacher sees the student's own view in eval mode, its batch-norm statistics averaged like weights; the 30 of the code's
80 epochs are a share of the run, `rampup`; the memory has a fixed number of places, an image takes the place index mod
`memory`, and a batch is remembered before it is compared, so a memory that is not full yet holds what it needs. Images
without a label have no CCD, and neither they nor a batch without index are remembered. A big teacher has no part in the
method: one that is given is not asked.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.distillers.base import Batch, Distiller, View, pooled, softened_kl, widths

WIDTH = 128
"""Dimensions of an embedding."""
MOMENTUM = 0.5
"""What a place of the memory keeps of an image's embedding when the image comes again."""


class Memory(nn.Module):
    """The last embeddings of up to `places` images: student and mean (places, 128), class and image, -1 where empty."""

    student: Tensor
    mean: Tensor
    label: Tensor
    image: Tensor

    def __init__(self, places: int) -> None:
        super().__init__()
        self.register_buffer("student", torch.zeros(places, WIDTH))
        self.register_buffer("mean", torch.zeros(places, WIDTH))
        self.register_buffer("label", torch.full((places,), -1))
        self.register_buffer("image", torch.full((places,), -1))

    @torch.no_grad()
    def remember(self, student: Tensor, mean: Tensor, y: Tensor, index: Tensor) -> None:
        """Write embeddings (B, 128) of images `index` (B,), labels y (B,); averaged with what an image had before."""
        place = index % len(self.label)
        kept = MOMENTUM * (self.image[place] == index).float()[:, None]
        for bank, new in ((self.student, student), (self.mean, mean)):
            bank[place] = F.normalize(kept * bank[place] + (1 - kept) * new.float(), dim=1)
        self.label[place], self.image[place] = y, index


class CRCKD(Distiller):
    """The student follows its own average, in answers and in how images relate to classes. Needs no big teacher."""

    name = "crckd"
    paper = "CRCKD, Xing et al., MICCAI 2021"
    reads = "nothing"
    tasks = ("binary", "multi-class")
    unlabeled = True

    def __init__(
        self,
        *args: Any,
        ccd: float = 0.1,
        crp: float = 1.0,
        tau: float = 0.07,
        positives: int = 20,
        negatives: int = 4096,
        memory: int = 8192,
        rampup: float = 0.375,
        decay: float = 0.99,
        **kwargs: Any,
    ) -> None:
        """ccd: weight of the class-guided contrast, 0 or above. crp: weight of the relations to classes, 0 or above.
        tau: temperature of both, above 0. positives: drawn of an image's own class, 1 or above. negatives: drawn of
        others, 1 or above. memory: images remembered, 1 or above. rampup: share of the run until the mean teacher's
        answer has its full weight, above 0, up to 1. decay: of the mean teacher, 0 to 1 and not 1.
        """
        super().__init__(*args, **kwargs)
        if min(ccd, crp) < 0 or not tau > 0 or min(positives, negatives, memory) < 1:
            raise ValueError(
                "crckd needs ccd and crp of 0 or above, tau above 0, and positives, negatives and memory of 1 or above."
            )
        if not 0 < rampup <= 1 or not 0 <= decay < 1:
            raise ValueError("crckd needs rampup above 0 and up to 1, and decay of 0 or above and below 1.")
        self.ccd, self.crp, self.tau = ccd, crp, tau
        self.positives, self.negatives = positives, negatives
        self.rampup, self.decay = rampup, decay
        channels = widths(self.student)[-1]
        self.embed_student, self.embed_mean = nn.Linear(channels, WIDTH), nn.Linear(channels, WIDTH)
        self.memory = Memory(memory)
        self.mean_teacher = copy.deepcopy(self.student).eval().requires_grad_(False)
        self.steps: Tensor
        self.register_buffer("steps", torch.tensor(0))

    def train(self, mode: bool = True) -> Self:
        """As any module, but for the mean teacher, which always answers in eval mode."""
        super().train(mode)
        self.mean_teacher.eval()
        return self

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        with torch.no_grad():
            mean = View(*self.mean_teacher.forward_with_features(batch.x))
        mine = F.normalize(self.embed_student(pooled(student.features[-1])).float(), dim=1)
        theirs = F.normalize(self.embed_mean(pooled(mean.features[-1])).float(), dim=1)
        known = batch.y >= 0
        if batch.index is not None:
            self.memory.remember(mine[known], theirs[known], batch.y[known], batch.index[known])
        answer = rise(batch.progress / self.rampup) * softened_kl(student.logits, mean.logits, 1.0)
        contrast = self.contrast(mine[known], self.memory.mean, batch.y[known])
        contrast = contrast + self.contrast(theirs[known], self.memory.student, batch.y[known])
        return answer + self.ccd * contrast + self.crp * self.relations(mine, theirs)

    def contrast(self, embeddings: Tensor, bank: Tensor, y: Tensor) -> Tensor:
        """CCD of embeddings (B, 128) with labels (B,) against the other network's memory."""
        same = self.memory.label[None] == y[:, None]  # (B, places)
        other = (self.memory.label[None] >= 0) & ~same
        return class_contrast(embeddings @ bank.T / self.tau, draw(same, self.positives), draw(other, self.negatives))

    def relations(self, student: Tensor, mean: Tensor) -> Tensor:
        """CRP over the classes that the memory holds; 0 with fewer than two of them."""
        labels = self.memory.label
        own, other = (
            centroids(bank, labels, self.student.num_classes) for bank in (self.memory.student, self.memory.mean)
        )
        present = torch.bincount(labels + 1)[1:].nonzero()[:, 0]
        if len(present) < 2:
            return student.sum() * 0
        return relation_kl(student @ own[present].T, mean @ other[present].T, self.tau)

    @torch.no_grad()
    def after_step(self) -> None:
        """The mean teacher takes its step toward the student; whole numbers, such as counts, are copied."""
        decay = min(1 - 1 / (int(self.steps) + 1), self.decay)
        for mine, theirs in zip(
            self.mean_teacher.state_dict().values(), self.student.state_dict().values(), strict=True
        ):
            if mine.is_floating_point():
                mine.lerp_(theirs.to(mine), 1 - decay)
            else:
                mine.copy_(theirs)
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
    owns = F.one_hot(label.clamp_min(0), classes).to(bank) * (label >= 0)[:, None]
    return F.normalize(owns.T @ bank, dim=1)


def relation_kl(student: Tensor, mean: Tensor, tau: float) -> Tensor:
    """KL(softmax(r_m / tau), softmax(r_s / tau)) of cosines (B, K) to class centroids, mean over the batch."""
    own, other = F.log_softmax(student.float() / tau, dim=1), F.log_softmax(mean.detach().float() / tau, dim=1)
    return F.kl_div(own, other, reduction="batchmean", log_target=True)
