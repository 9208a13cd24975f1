"""No distillation: the student learns from the labels alone. The baseline that every gain is measured against."""

from __future__ import annotations

from torch import Tensor

from kdlight.distillers.base import Batch, Distiller, View


class Alone(Distiller):
    name = "alone"
    summary = "The task loss, nothing else; a teacher that is given is not asked."
    paper = "baseline"
    needs = "nothing"
    unlabeled = False

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        return student.logits.new_zeros(())
