"""FitNets: hints for thin deep nets (Romero et al., ICLR 2015), https://arxiv.org/abs/1412.6550.

Two stages. First the student's lower half learns to give, through a regressor r, the teacher's middle map:
L = gamma / 2 mean (r(F_s) - F_t)^2,
then the whole student learns by KD: L = (1 - alpha) CE + alpha T^2 KL(softmax(z_t / T) || softmax(z_s / T)).
Ours: r is a 1 x 1 convolution, the guided map is averaged to the hint's size, the middle map is the middle of the pairs
of `kdlight.distillers.matching` (the last maps where one network gives a single one), and the first stage is a share of
one run under one learning rate schedule, not a run of its own. Validation counts after it.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.contracts.options import Option
from kdlight.distillers.base import Alpha, Batch, Distiller, Temperature, View, softened_kl
from kdlight.distillers.matching import pairs


def hint_loss(guided: Tensor, hint: Tensor) -> Tensor:
    """Half the mean squared difference of maps (B, C, h, w); the guided one is averaged to the hint's h and w."""
    height, width = hint.shape[2:]
    return 0.5 * F.mse_loss(F.adaptive_avg_pool2d(guided.float(), (height, width)), hint.float())


class FitNet(Distiller):
    name = "fitnet"
    summary = "First a hint from the teacher's middle for the student's lower half, then KD for all of it."
    paper = "Romero et al., ICLR 2015"
    needs = "features"

    stage: Annotated[
        float, Option("How long the first stage, the hint, lasts as a share of the whole run.", ge=0, le=1)
    ] = 0.3
    gamma: Annotated[float, Option("How much the teacher's hint counts in the first stage.", ge=0)] = 1.0
    alpha: Alpha = 0.7
    temperature: Temperature = 4.0

    def build(self) -> None:
        self.best_epoch_from = self.stage
        matched = pairs(self.student, self.teacher_model)
        guided, hint = matched[(len(matched) - 1) // 2]
        self.guided, self.hint = guided.index, hint.index
        self.regressor = nn.Conv2d(guided.channels, hint.channels, 1)

    def task(self, logits: Tensor, batch: Batch) -> Tensor:
        """The labels' part: none while the hint is learned, nor a gradient of 0, which Adam would count as steps."""
        return logits.new_zeros(()) if batch.progress < self.stage else super().task(logits, batch)

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        if batch.progress < self.stage:
            return self.gamma * hint_loss(self.regressor(student.features[self.guided]), teacher.features[self.hint])
        return self.alpha * softened_kl(student.logits, teacher.logits, self.temperature)
