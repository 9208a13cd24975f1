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

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.distillers.base import Batch, Distiller, View, pooled, softened_kl, widths
from kdlight.models.base import Classifier

MODES = ("reuse", "retrain", "end_to_end")


class EFCM(Distiller):
    """First the teacher's features without any label, then a head: reused, retrained, or all of it end to end."""

    name = "efcm"
    paper = "EFCM 2024"
    reads = "pooled"
    tasks = ("binary", "multi-class")
    unlabeled = True

    def __init__(
        self, *args: Any, mode: str = "end_to_end", stage1: float = 0.5, temperature: float = 4.0, **kwargs: Any
    ) -> None:
        """mode: reuse, retrain or end_to_end. stage1: share of the run for the features, 0 to 1 without its ends.
        temperature: of the teacher's answers where they are reused, above 0.
        """
        super().__init__(*args, **kwargs)
        if mode not in MODES:
            raise ValueError(f"efcm does not know the mode {mode!r}; one of {', '.join(MODES)} was expected.")
        if not 0 < stage1 < 1 or not temperature > 0:
            raise ValueError("efcm needs stage1 between 0 and 1 (neither of them), and temperature above 0.")
        self.mode = mode
        self.stage1 = self.counts_from = stage1
        self.temperature = temperature
        self.projecting = True
        self.projection = nn.Linear(widths(self.student)[-1], widths(self.guide)[-1])
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
