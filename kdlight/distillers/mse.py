"""Distillation by squared error: the student's softened probabilities meet the teacher's.

The second form of the explainable KD system (Mir & Rizvi 2025, https://arxiv.org/abs/2508.15251) as it is rebuilt
here. The abstract speaks of hybrid supervision and gives no loss; that form, alpha = 0.5 and T = 4 are ours. Its
ancestor (https://arxiv.org/abs/2305.06244) has a focal task loss with a squared error at T = 2.
L = (1 - alpha) CE + alpha T^2 sum_k (softmax(z_t / T) - softmax(z_s / T))_k^2
The sum over classes and T^2 keep it as large as KD's divergence when T changes (ours too).
"""

from __future__ import annotations

from torch import Tensor

from kdlight.distillers.base import Alpha, Batch, Distiller, Temperature, View


def softened_mse(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 times the squared distance of softened probabilities, mean over the batch; logits (B, K)."""
    gap = (student / temperature).softmax(dim=1) - (teacher / temperature).softmax(dim=1)
    return temperature**2 * gap.square().sum(dim=1).mean()


class MSE(Distiller):
    name = "mse"
    summary = "The student's softened probabilities are drawn to the teacher's by their squared distance."
    paper = "after Mir & Rizvi 2025"
    needs = "logits"

    alpha: Alpha = 0.5
    temperature: Temperature = 4.0

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        return self.alpha * softened_mse(student.logits.float(), teacher.logits.float(), self.temperature)
