"""Decoupled knowledge distillation (Zhao et al., CVPR 2022), https://arxiv.org/abs/2203.08679.

KD splits into KL over (target, rest) and (1 - p_t) times KL over the rest; DKD weighs the two on their own:
L = alpha TCKD + beta NCKD, each at temperature T and times T^2. With two classes NCKD is zero and DKD is TCKD alone.

Ours: beta is 2, where the authors choose it by pair of networks (8 for their first one, on 100 classes): NCKD lies over
K - 1 classes, of which a medical set has few. And the term has its full weight from the start, where the authors' rises
over 20 of 240 epochs; the recipes here begin with trained weights and a warmed-up rate.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from kdlight.contracts.options import Option
from kdlight.distillers.base import Batch, Distiller, Temperature, View


def tckd(student: Tensor, teacher: Tensor, y: Tensor, temperature: float) -> Tensor:
    """T^2 KL over (p_target, 1 - p_target), mean over the batch; logits (B, K), y (B,). In log space throughout."""
    log_p, log_q = _binary(student, y, temperature), _binary(teacher, y, temperature)
    return temperature**2 * F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)


def nckd(student: Tensor, teacher: Tensor, y: Tensor, temperature: float) -> Tensor:
    """T^2 KL over the classes that are not the target, renormalized; logits (B, K), y (B,)."""
    log_p, log_q = _rest(student, y, temperature), _rest(teacher, y, temperature)
    return temperature**2 * F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)


class DKD(Distiller):
    name = "dkd"
    summary = "Target and non-target knowledge, weighed apart. Needs three classes or more."
    paper = "Zhao et al., CVPR 2022"
    tasks = ("multi-class",)
    needs = "logits"
    mixable = False
    unlabeled = False

    alpha_target: Annotated[float, Option("Weight of the target class against all others.", ge=0)] = 1.0
    beta: Annotated[float, Option("Weight of the classes that are not the target.", ge=0)] = 2.0
    temperature: Temperature = 4.0

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        terms = (student.logits.float(), teacher.logits.float(), batch.y, self.temperature)
        return self.alpha_target * tckd(*terms) + self.beta * nckd(*terms)


def _binary(logits: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Log-probabilities (B, 2) of the target and of everything else."""
    log_p = F.log_softmax(logits / temperature, dim=1)
    target = F.one_hot(y, logits.shape[1]).bool()
    rest = log_p.masked_fill(target, float("-inf")).logsumexp(dim=1)
    return torch.stack([log_p[target], rest], dim=1)


def _rest(logits: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Log-probabilities (B, K - 1) among the classes that are not the target."""
    target = F.one_hot(y, logits.shape[1]).bool()
    others = logits[~target].view(len(logits), -1)
    return F.log_softmax(others / temperature, dim=1)
