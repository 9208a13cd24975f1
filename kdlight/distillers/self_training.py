"""Self-training with improved regularization (Rajan et al., 2020), https://arxiv.org/abs/2005.02231.

The abstract gives data augmentation, self-training by distillation and confidence tempering for few labels, and no
equation: what follows is ours. An image without a label takes the teacher's softened answer q = softmax(z_t / T), one
with a label t = (1 - trust) y + trust q; images and targets are mixed (Zhang et al. 2018, one l ~ Beta(m, m) a batch):
x' = l x + (1 - l) x_perm, t' = l t + (1 - l) t_perm,  L = CE(z_s(x'), t') + penalty KL(p_s(x') || uniform)
The last term is the confidence penalty of Pereyra et al. (2017), shifted to be 0 for an even answer.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from kdlight.contracts.options import Option
from kdlight.distillers.base import Batch, Distiller, Temperature, View


class SelfTraining(Distiller):
    name = "self_training"
    summary = "The teacher labels what has no label; mixed images and a penalty keep the student from being too sure."
    paper = "Rajan et al. 2020"
    needs = "logits"

    trust: Annotated[
        float, Option("How much the teacher's output counts where an image has a label already.", ge=0, le=1)
    ] = 0.5
    temperature: Temperature = 2.0
    mixup: Annotated[
        float, Option("How much pairs of images are blended into one (shape of mixup's Beta); 0 does not.", ge=0)
    ] = 0.2
    penalty: Annotated[float, Option("Weight of the confidence penalty.", ge=0)] = 0.1

    def choose(self, batch: Batch) -> Batch:
        """The batch with soft targets for all its images, mixed."""
        view = self.teacher_view(batch)
        target = targets(batch.y, view.logits, self.trust, self.temperature)
        if batch.target is not None:
            target = (1 - self.trust) * batch.target + self.trust * tempered(view.logits, self.temperature)
        if not self.mixup:
            return replace(batch, target=target, teacher=view)
        share = torch.distributions.Beta(self.mixup, self.mixup).sample().to(batch.x)
        order = torch.randperm(len(batch.x), device=batch.x.device)
        x, target = mixed(batch.x, order, share), mixed(target, order, share)
        return replace(batch, x=x, target=target, teacher=view)

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        return self.penalty * confidence(student.logits)


def tempered(logits: Tensor, temperature: float) -> Tensor:
    """Softened probabilities (B, K)."""
    return F.softmax(logits.float() / temperature, dim=1)


def targets(y: Tensor, teacher: Tensor, trust: float, temperature: float) -> Tensor:
    """Soft labels (B, K): the teacher's where y (B,) is -1, else (1 - trust) of the label and trust of the teacher."""
    softened = tempered(teacher, temperature)
    known = (y >= 0)[:, None]
    label = F.one_hot(y.clamp_min(0), teacher.shape[1]).to(softened)
    return torch.where(known, (1 - trust) * label + trust * softened, softened)


def mixed(values: Tensor, order: Tensor, share: Tensor) -> Tensor:
    """share * values + (1 - share) * values in another order (B,)."""
    return share * values + (1 - share) * values[order]


def confidence(logits: Tensor) -> Tensor:
    """KL(p || uniform) = log K - H(p) in nats, mean over the batch: 0 for an even answer, log K for a sure one."""
    log_p = F.log_softmax(logits.float(), dim=1)
    return math.log(logits.shape[1]) + (log_p.exp() * log_p).sum(dim=1).mean()
