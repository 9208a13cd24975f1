"""Deep AUC maximization (Yuan et al., ICCV 2021), https://arxiv.org/abs/2012.03173; see also 2112.08363.

min over (w, a, b), max over alpha >= 0:
L = E+[(h - a)^2] + E-[(h - b)^2] + 2 alpha (m + E-[h] - E+[h]) - alpha^2,  h = sigmoid score, m = 1
E+ and E- are means over the positives and the negatives of a batch. At its saddle point a = E+[h], b = E-[h],
alpha = max(0, m - (E+[h] - E-[h])), and L is Var+(h) + Var-(h) + max(0, m - (E+[h] - E-[h]))^2, which is the mean of
(m - (h_i - h_j))^2 over all pairs of a positive i and a negative j while that margin is not reached.

It takes the place of the task loss; `kd` joins Hinton's loss to it (ours). h is the probability of the second class,
the sigmoid of the difference of the two logits; L is the same whichever class is the positive one. alpha, called `dual`
here, climbs by its own gradient after each step and is cut at 0; a, b and alpha begin at the saddle point of a student
that answers 0.5 to everything (ours). The paper's batches are balanced; here E+ and E- are means of their own, so that
a batch need not be, and a class that a batch lacks leaves its terms out (ours).
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from kdlight.contracts.options import Option
from kdlight.distillers.base import Batch, Distiller, Temperature, View, softened_kl


class AUCMargin(Distiller):
    name = "auc_margin"
    summary = "Rank every positive above every negative by a margin, beside the teacher's output. Two classes only."
    paper = "Deep AUC maximization, Yuan et al., ICCV 2021"
    tasks = ("binary",)
    needs = "logits"
    mixable = False
    alpha = 1.0

    margin: Annotated[float, Option("Margin between the mean scores of the two classes.", gt=0, le=1)] = 1.0
    ascent: Annotated[float, Option("Step of the dual variable.", gt=0, lt=1)] = 0.1
    kd: Annotated[float, Option("Weight of the teacher's output; 0 leaves the teacher out.", ge=0)] = 1.0
    temperature: Temperature = 4.0
    dual: Tensor
    slope: Tensor

    def build(self) -> None:
        self.a, self.b = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(0.5))
        self.register_buffer("dual", torch.tensor(self.margin))
        self.register_buffer("slope", torch.tensor(0.0))

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        scores = (student.logits[:, 1] - student.logits[:, 0]).float().sigmoid()
        positive, negative = weights(batch)
        gap = margin_gap(scores, positive, negative, self.margin)
        self.slope.copy_(2 * (gap.detach() - self.dual) if has(positive) and has(negative) else self.slope * 0)
        loss = auc_margin(scores, positive, negative, self.a, self.b, self.dual, self.margin)
        return loss + self.kd * softened_kl(student.logits, teacher.logits, self.temperature) if self.kd else loss

    @torch.no_grad()
    def after_step(self) -> None:
        """alpha climbs along its gradient of the last batch, and stays at 0 or above."""
        self.dual.add_(self.ascent * self.slope).clamp_min_(0)
        self.slope.zero_()


def weights(batch: Batch) -> tuple[Tensor, Tensor]:
    """How far each image (B,) counts as positive and as negative, 0 to 1; both 0 for one without a label."""
    if batch.target is not None:
        return batch.target[:, 1].float(), batch.target[:, 0].float()
    return (batch.y == 1).float(), (batch.y == 0).float()


def has(weight: Tensor) -> bool:
    """Whether a batch holds anything of a class."""
    return bool(weight.sum() > 0)


def mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of values (B,) under weights (B,); 0 if every weight is."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-6)


def margin_gap(scores: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """m + E-[h] - E+[h]; scores and weights (B,)."""
    return margin + mean(scores, negative) - mean(scores, positive)


def auc_margin(
    scores: Tensor, positive: Tensor, negative: Tensor, a: Tensor, b: Tensor, dual: Tensor, margin: float
) -> Tensor:
    """The objective of scores h (B,), 0 to 1, at a, b and alpha; terms of a class that is not there are left out."""
    spread = mean((scores - a).square(), positive) + mean((scores - b).square(), negative)
    if not has(positive) or not has(negative):
        return spread
    return spread + 2 * dual * margin_gap(scores, positive, negative, margin) - dual.square()
