"""Decoupled knowledge distillation (Zhao et al., CVPR 2022), https://arxiv.org/abs/2203.08679.

KD splits into KL over (target, rest) and (1 - p_t) times KL over the rest; DKD weighs the two on their own:
L = alpha TCKD + beta NCKD, each at temperature T and times T^2. With two classes NCKD is zero and DKD is TCKD alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kdlight.distillers.base import Batch, Distiller, View


def tckd(student: Tensor, teacher: Tensor, y: Tensor, temperature: float) -> Tensor:
    """T^2 KL over (p_target, 1 - p_target), mean over the batch; logits (B, K), y (B,). In log space throughout."""
    own, other = _binary(student, y, temperature), _binary(teacher, y, temperature)
    return temperature**2 * F.kl_div(own, other, reduction="batchmean", log_target=True)


def nckd(student: Tensor, teacher: Tensor, y: Tensor, temperature: float) -> Tensor:
    """T^2 KL over the classes that are not the target, renormalised; logits (B, K), y (B,)."""
    own, other = _rest(student, y, temperature), _rest(teacher, y, temperature)
    return temperature**2 * F.kl_div(own, other, reduction="batchmean", log_target=True)


class DKD(Distiller):
    """Target and non-target knowledge, weighed apart. Needs three classes or more: with two it is KD's first term."""

    name = "dkd"
    paper = "Zhao et al., CVPR 2022"
    reads = "logits"
    tasks = ("multi-class",)

    def __init__(
        self, *args: Any, alpha_target: float = 1.0, beta: float = 2.0, temperature: float = 4.0, **kwargs: Any
    ) -> None:
        """alpha_target, beta: weights of the two terms, 0 or above. temperature: above 0."""
        super().__init__(*args, **kwargs)
        if alpha_target < 0 or beta < 0 or not temperature > 0:
            raise ValueError("dkd needs alpha_target and beta of 0 or above, and a temperature above 0.")
        self.alpha_target = alpha_target
        self.beta = beta
        self.temperature = temperature

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
