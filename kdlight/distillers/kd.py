"""Knowledge distillation (Hinton, Vinyals & Dean, 2015), https://arxiv.org/abs/1503.02531.

L = (1 - alpha) CE + alpha T^2 KL(softmax(z_t / T) || softmax(z_s / T))
"""

from __future__ import annotations

from torch import Tensor

from kdlight.distillers.base import Alpha, Batch, Distiller, Temperature, View, softened_kl


class KD(Distiller):
    name = "kd"
    summary = "The student follows the teacher's softened probabilities."
    paper = "Hinton, Vinyals & Dean 2015"
    needs = "logits"

    alpha: Alpha = 0.7
    temperature: Temperature = 4.0

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        return self.alpha * softened_kl(student.logits, teacher.logits, self.temperature)
