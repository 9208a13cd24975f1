"""ACID (Udandarao et al., 2024), https://arxiv.org/abs/2411.18674: choosing the data is a distillation.

From a super-batch keep the images with the largest L(student) - L(reference), the published share being 20 %; ACED adds
softmax KD on the images chosen. Here the reference is the teacher and L the cross-entropy of one image:
chosen = argmax_k [CE(z_s, y) - CE(z_t, y)],  L = CE on the chosen + softmax_kd T^2 KL on the chosen

Ours: the batch that the loop draws is the super-batch, so a step learns from `keep` times train.batch_size images (two
at least: batch norm needs them); an image without a label is scored by the teacher's answer q, as KL(q, p_s).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from kdlight.contracts.options import Option
from kdlight.distillers.base import Batch, Distiller, Temperature, View, softened_kl


class ACID(Distiller):
    name = "acid"
    summary = "Learn from the images that the student still gets wrong and the teacher does not."
    paper = "ACID and ACED, Udandarao et al. 2024"
    needs = "logits"
    mixable = False

    keep: Annotated[float, Option("Share of each batch that is trained on: the images that help most.", gt=0, le=1)] = (
        0.2
    )
    softmax_kd: Annotated[
        float, Option("Weight of the teacher's output on the images that are chosen: 0 is ACID, more is ACED.", ge=0)
    ] = 1.0
    temperature: Temperature = 4.0

    def choose(self, batch: Batch) -> Batch:
        """The images of a super-batch worth most, with the teacher's view of them, in the batch's order."""
        view = self.teacher_view(batch)
        scores = learnability(self.scoring_logits(batch.x), view.logits, batch.y)
        count = min(len(scores), max(2, round(self.keep * len(scores))))
        best = scores.topk(count).indices.sort().values
        return replace(
            batch,
            x=batch.x[best],
            y=batch.y[best],
            index=None if batch.index is None else batch.index[best],
            target=None if batch.target is None else batch.target[best],
            teacher=view.rows(best),
        )

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        return self.softmax_kd * softened_kl(student.logits, teacher.logits, self.temperature)

    @torch.no_grad()
    def scoring_logits(self, x: Tensor) -> Tensor:
        """The student's logits (B, K) in eval mode; its own modes and batch-norm statistics stay as they are."""
        modes = [(module, module.training) for module in self.student.modules()]
        try:
            return self.student.eval()(x)  # type: ignore[no-any-return]
        finally:
            for module, training in modes:
                module.training = training


def learnability(student: Tensor, reference: Tensor, y: Tensor) -> Tensor:
    """L(student) - L(reference) per image (B,), in nats; logits (B, K), labels y (B,) with -1 where there is none."""
    log_p, log_q = F.log_softmax(student.float(), dim=1), F.log_softmax(reference.float(), dim=1)
    labels = F.one_hot(y.clamp_min(0), student.shape[1]).to(log_p)
    weights = torch.where(y[:, None] >= 0, labels, log_q.exp())
    return (weights * (log_q - log_p)).sum(dim=1)
