"""Knowledge distillation (Hinton, Vinyals & Dean, 2015), https://arxiv.org/abs/1503.02531.

L = (1 - alpha) CE + alpha T^2 KL(softmax(z_t / T) || softmax(z_s / T))
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kdlight.distillers.base import Batch, Distiller, View, softened_kl


class KD(Distiller):
    """The student follows the teacher's softened probabilities."""

    name = "kd"
    paper = "Hinton, Vinyals & Dean 2015"
    reads = "logits"
    unlabeled = True

    def __init__(self, *args: Any, alpha: float = 0.7, temperature: float = 4.0, **kwargs: Any) -> None:
        """alpha: share of the distillation, 0 to 1. temperature: above 0; larger shows more of the small classes."""
        super().__init__(*args, **kwargs)
        if not 0 <= alpha <= 1 or not temperature > 0:
            raise ValueError(f"kd needs alpha in [0, 1] and temperature above 0, not {alpha} and {temperature}.")
        self.alpha = alpha
        self.temperature = temperature

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        return self.alpha * softened_kl(student.logits, teacher.logits, self.temperature)
