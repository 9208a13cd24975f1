"""Two light models that teach each other (Tsutsumi et al., 2025), https://arxiv.org/abs/2508.20461.

From the source, of which only the abstract could be read: two light models begin with weights selected from one large
pretrained model, self-knowledge distillation between them, then fine-tuning. All else here is our choice. Model A is
the student; B, its partner, has the same architecture and takes the selection's other half (offset 1 where A has 0).
Both learn at once, each on
L = CE + weight T^2 KL(softmax(z_t / T) || softmax(z / T)), z_t from the moving average (EMA) of the other's weights,
or the mean of both averages' logits. With dual off there is A alone, following its own average; with self_distill off
there is no KL, so the two never meet and A learns exactly as alone: the control of the 2 x 2 ablation. A is deployed
as it was at its best epoch on validation; a study reports B of that epoch and the mean of both beside it.
"""

from __future__ import annotations

import copy
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from kdlight.contracts.options import Option
from kdlight.contracts.recipe import Layers
from kdlight.distillers.base import Batch, Distiller, Temperature, View, softened_kl, update_average
from kdlight.models.base import Classifier
from kdlight.models.weight_selection import reestimate_batch_norm, select_weights


class Dual(Distiller):
    name = "dual"
    summary = (
        "A student and its complementary partner; the teacher gives the partner's first weights and is not asked again."
    )
    paper = "Tsutsumi et al. 2025"
    needs = "nothing"

    dual: Annotated[bool, Option("Train a partner beside the student.")] = True
    self_distill: Annotated[bool, Option("Follow the moving averages of the models.")] = True
    both: Annotated[bool, Option("Follow the mean of both averages, not the other's alone.")] = False
    weight: Annotated[float, Option("Weight of what follows the averages beside the loss of the labels.", ge=0)] = 1.0
    temperature: Temperature = 3.0
    momentum: Annotated[float, Option("How slowly the averages follow: near 1 is slow and steady.", ge=0, lt=1)] = 0.99
    selection: Annotated[
        Literal["uniform", "consecutive"], Option("Which channels the partner takes; as the student's own.")
    ] = "uniform"
    layers: Annotated[Layers, Option("Which blocks of a stage the partner takes; as the student's own.")] = "first"
    steps: Tensor

    def build(self) -> None:
        """Raises ValueError if a partner is asked for and there is no teacher of the student's family for it."""
        self.partner = self._partner() if self.dual else None
        learners = self.learners() if self.self_distill else []
        self.averages = nn.ModuleList(copy.deepcopy(model).requires_grad_(False) for model in learners).eval()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def learners(self) -> list[Classifier]:
        """The models that are trained: the student, then its partner."""
        return [self.student] if self.partner is None else [self.student, self.partner]

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        """The student's KL, and all of the partner's loss."""
        loss = student.logits.new_zeros(())
        with torch.random.fork_rng([batch.x.device] if batch.x.is_cuda else []):
            logits = [student.logits] if self.partner is None else [student.logits, self._logits(self.partner, batch)]
            with torch.no_grad():
                averaged = [average(batch.x) for average in self.averages]
        for given, target in zip(logits, targets(averaged, self.both), strict=False):
            loss = loss + self.weight * softened_kl(given, target, self.temperature)
        return loss if self.partner is None else loss + self.task(logits[1].float(), batch)

    @torch.no_grad()
    def after_step(self) -> None:
        self.steps += 1
        momentum = min(1 - 1 / (int(self.steps) + 1), self.momentum)
        for average, model in zip(self.averages, self.learners(), strict=False):
            update_average(average, model, momentum)

    def train(self, mode: bool = True) -> Dual:
        """The averages stay in eval mode: they answer with their own statistics, without dropout."""
        super().train(mode)
        self.averages.eval()
        return self

    def _partner(self) -> Classifier:
        if self.teacher is None:
            raise ValueError("dual takes its partner's first weights from a larger model; give a teacher, or dual off.")
        partner = copy.deepcopy(self.student)
        select_weights(self.teacher, partner, offset=1, how=self.selection, layers=self.layers)
        return partner

    def _logits(self, partner: Classifier, batch: Batch) -> Tensor:
        """The partner's logits (B, K). Selected channels shift every mean, so the first batch sets its batch norm."""
        if self.training and int(self.steps) == 0:
            reestimate_batch_norm(partner, [batch.x])
            for average in self.averages[1:]:
                average.load_state_dict(partner.state_dict())
        return partner(batch.x)  # type: ignore[no-any-return]


def targets(averaged: list[Tensor], both: bool) -> list[Tensor]:
    """What each follows, from the averages' logits (B, K): the other's, or the mean of both; if single its own."""
    if both and averaged:
        return [torch.stack(averaged).mean(dim=0)] * len(averaged)
    return averaged[::-1]
