"""FitNets: hints for thin deep nets (Romero et al., ICLR 2015), https://arxiv.org/abs/1412.6550.

Two stages. First the student's lower half learns to give, through a regressor r, the teacher's middle map:
L = gamma / 2 mean (r(F_s) - F_t)^2,
then the whole student learns by KD: L = (1 - alpha) CE + alpha T^2 KL(softmax(z_t / T) || softmax(z_s / T)).
Ours: r is a 1 x 1 convolution, the guided map is averaged to the hint's size, the middle map is the middle of the pairs
of `kdlight.distillers.matching` (the last maps where one network gives a single one), and the first stage is a share of
one run under one learning rate schedule, not a run of its own. Validation counts after it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.distillers.base import Batch, Distiller, View, softened_kl
from kdlight.distillers.matching import pairs


def hint_loss(guided: Tensor, hint: Tensor) -> Tensor:
    """Half the mean squared difference of maps (B, C, h, w); the guided one is averaged to the hint's h and w."""
    height, width = hint.shape[2:]
    return 0.5 * F.mse_loss(F.adaptive_avg_pool2d(guided.float(), (height, width)), hint.float())


class FitNet(Distiller):
    """First a hint from the teacher's middle for the student's lower half, then KD for all of it."""

    name = "fitnet"
    paper = "Romero et al., ICLR 2015"
    reads = "maps"
    unlabeled = True

    def __init__(
        self,
        *args: Any,
        stage: float = 0.3,
        gamma: float = 1.0,
        alpha: float = 0.7,
        temperature: float = 4.0,
        **kwargs: Any,
    ) -> None:
        """stage: share of the run for the hint, 0 to 1. gamma: weight of the hint, 0 or above.

        alpha: share of softened answers after it, 0 to 1. temperature: of those answers, above 0.
        """
        super().__init__(*args, **kwargs)
        if not 0 <= stage <= 1 or gamma < 0 or not 0 <= alpha <= 1 or not temperature > 0:
            raise ValueError("fitnet needs stage and alpha in [0, 1], gamma of 0 or above and temperature above 0.")
        self.stage = self.counts_from = stage
        self.gamma = gamma
        self.alpha = alpha
        self.temperature = temperature
        matched = pairs(self.student, self.guide)
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
