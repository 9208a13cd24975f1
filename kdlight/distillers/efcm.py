"""EFCM (2024), https://arxiv.org/abs/2409.11817: compress the features first, without labels, then fine-tune.

Stage 1, feature projection distillation: L = smooth_L1(Proj(f_s), f_t) on pooled features; no label is looked at.
Stage 2: the paper names three ways, Reuse, Retrain and End2end train, for a head over the features of slide patches.

Ours: the distance (the abstract leaves it open), a linear Proj without the paper's TransScan module, and what the three
ways are for a classifier of single images:
reuse        features frozen; the head learns from the teacher's own head, L = T^2 KL(z_t, z_s), still without labels
retrain      features frozen; a new head learns from the labels, L = CE
end_to_end   features and head learn from the labels, L = CE
Stage 1 leaves the student's head as it began, so its answers mean nothing until stage 2: validation counts from there.
"""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.contracts.options import Option
from kdlight.distillers.base import Batch, Distiller, Temperature, View, pooled, softened_kl, widths
from kdlight.models.base import Classifier


class EFCM(Distiller):
    name = "efcm"
    summary = "First the teacher's features without any label, then a head: reused, retrained, or all of it end to end."
    paper = "EFCM 2024"
    needs = "pooled"

    mode: Annotated[
        Literal["reuse", "retrain", "end_to_end"],
        Option("Second stage: learn from the teacher's head, train a new head, or train all of the student."),
    ] = "end_to_end"
    stage1: Annotated[
        float, Option("How long the first stage, without labels, lasts as a share of the whole run.", gt=0, lt=1)
    ] = 0.5
    temperature: Temperature = 4.0

    def build(self) -> None:
        self.best_epoch_from = self.stage1
        self.projecting = True
        self.projection = nn.Linear(widths(self.student)[-1], widths(self.teacher_model)[-1])
        head_of(self.student)

    def choose(self, batch: Batch) -> Batch:
        """All of the batch; what of the student learns, and from what, hangs on how far the run is."""
        self.projecting = batch.progress < self.stage1
        self.alpha = 1.0 if self.projecting or self.mode == "reuse" else 0.0
        frozen = not self.projecting and self.mode != "end_to_end"
        self.student.requires_grad_(not frozen)
        head_of(self.student).requires_grad_(not self.projecting)
        if frozen:
            self.student.eval()  # or batch norm would go on moving the features
        return batch

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        if self.projecting:
            return feature_projection(self.projection(pooled(student.features[-1])), pooled(teacher.features[-1]))
        if self.mode == "reuse":
            return softened_kl(student.logits, teacher.logits, self.temperature)
        return student.logits.new_zeros(())


def feature_projection(projected: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 between the student's projected features and the teacher's, both (B, C); mean over all entries."""
    return F.smooth_l1_loss(projected.float(), target.float())


def head_of(model: Classifier) -> nn.Linear:
    """The layer that gives the logits: the last linear one with as many outputs as there are classes.

    Raises ValueError if there is none.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == model.num_classes]
    if not layers:
        raise ValueError("efcm needs a student that ends in a linear layer, and this one does not. Choose another one.")
    return layers[-1]
