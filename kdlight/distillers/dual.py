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
from typing import Any

import torch
from torch import Tensor, nn

from kdlight.distillers.base import Batch, Distiller, View, softened_kl
from kdlight.models.base import Classifier
from kdlight.models.weight_selection import reestimate_batch_norm, select_weights


class Dual(Distiller):
    """A student and its complementary partner; the teacher gives the partner's first weights and is not asked again."""

    name = "dual"
    paper = "Tsutsumi et al. 2025"
    reads = "nothing"
    unlabeled = True
    steps: Tensor

    def __init__(
        self,
        *args: Any,
        dual: bool = True,
        self_distill: bool = True,
        both: bool = False,
        weight: float = 1.0,
        temperature: float = 3.0,
        momentum: float = 0.99,
        selection: str = "uniform",
        layers: str = "first",
        **kwargs: Any,
    ) -> None:
        """dual: with a partner. self_distill: with the KL. both: to the mean of both averages, not the other's alone.

        weight: of the KL, 0 or above. temperature: above 0. momentum: of the averages, 0 to below 1; the first steps
        take 1 - 1 / (n + 1) while that is less. selection (uniform or consecutive) and layers (first or even): as the
        student's own, so that the two are halves. Raises ValueError if a partner is asked for and there is no teacher
        of the student's family to select from.
        """
        super().__init__(*args, **kwargs)
        if weight < 0 or not temperature > 0 or not 0 <= momentum < 1:
            raise ValueError("dual needs weight of 0 or above, temperature above 0 and momentum in [0, 1).")
        if selection not in ("uniform", "consecutive"):
            raise ValueError(f"dual knows selection uniform and consecutive, not {selection!r}; name one of the two.")
        self.weight = weight
        self.temperature = temperature
        self.momentum = momentum
        self.both = both
        self.partner = self._partner(selection, layers) if dual else None
        learners = self.learners() if self_distill else []
        self.averages = nn.ModuleList(copy.deepcopy(model).requires_grad_(False) for model in learners).eval()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def learners(self) -> list[Classifier]:
        """The models that are trained: the student, then its partner."""
        return [self.student] if self.partner is None else [self.student, self.partner]

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        """The student's KL, and all of the partner's loss."""
        loss = student.logits.new_zeros(())
        with torch.random.fork_rng([batch.x.device] if batch.x.is_cuda else []):
            logits = [student.logits] if self.partner is None else [student.logits, self._answer(self.partner, batch)]
            with torch.no_grad():
                averaged = [average(batch.x) for average in self.averages]
        for own, target in zip(logits, targets(averaged, self.both), strict=False):
            loss = loss + self.weight * softened_kl(own, target, self.temperature)
        return loss if self.partner is None else loss + self.task(logits[1].float(), batch)

    @torch.no_grad()
    def after_step(self) -> None:
        self.steps += 1
        momentum = min(1 - 1 / (int(self.steps) + 1), self.momentum)
        for average, model in zip(self.averages, self.learners(), strict=False):
            follow(average, model, momentum)

    def train(self, mode: bool = True) -> Dual:
        """The averages stay in eval mode: they answer with their own statistics, without dropout."""
        super().train(mode)
        self.averages.eval()
        return self

    def _partner(self, selection: str, layers: str) -> Classifier:
        if self.teacher is None:
            raise ValueError("dual takes its partner's first weights from a larger model; give a teacher, or dual off.")
        partner = copy.deepcopy(self.student)
        select_weights(self.teacher, partner, offset=1, how=selection, layers=layers)
        return partner

    def _answer(self, partner: Classifier, batch: Batch) -> Tensor:
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


def follow(average: nn.Module, model: nn.Module, momentum: float) -> None:
    """average = momentum average + (1 - momentum) model: weights and batch-norm statistics; counters are copied."""
    own = model.state_dict()
    for name, tensor in average.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(own[name], 1 - momentum)
        else:
            tensor.copy_(own[name])
