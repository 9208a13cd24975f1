"""Explanation-enhanced distillation, e2KD (Parchami-Araghi et al., ECCV 2024), https://arxiv.org/abs/2402.03119.

Where the teacher looks for the class that it answers, the student is to look for that class: M is Grad-CAM on the maps
A_k before pooling, with w_k the mean slope of the logit z_c over the places of A_k, and c the teacher's top class.
M_c = relu(sum_k w_k A_k);  L_map = 1 - cos(M_c of the student, M_c of the teacher)
Attention transfer (`kdlight.distillers.attention`) compares where a stage is active, whatever for; this compares what
speaks for a class. The source joins it with Hinton's loss; here it is joined with the loss that the shipped pairs are
trained by, `kdlight.distillers.feature`, so that delta = 0 is that method. Of two grids the finer is averaged down. A
map without anything positive has no direction: its distance is 1 and it teaches nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from kdlight.contracts.options import Option
from kdlight.distillers.base import Batch, View
from kdlight.distillers.feature import FeatureKD


@dataclass(frozen=True, slots=True)
class Explained(View):
    """The teacher's view with its Grad-CAM (B, h, w) for its top class."""

    heat: Tensor


def gradcam(view: View, classes: Tensor, keep: bool = False) -> Tensor:
    """Grad-CAM (B, h, w) of classes (B,) on the last maps of a view; keep: it can itself be differentiated.

    Raises ValueError where the logits do not follow from those maps.
    """
    maps, scores = view.features[-1], view.logits.float().gather(1, classes[:, None])
    (slope,) = torch.autograd.grad(scores.sum(), maps, create_graph=keep, retain_graph=True, allow_unused=True)
    if slope is None:
        raise ValueError("A network's answer does not follow from its last maps, so it has no Grad-CAM. Use attention.")
    return (slope.float().mean(dim=(2, 3), keepdim=True) * maps.float()).sum(dim=1).relu()


def map_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of two maps (B, h, w), mean over the batch, 0 to 1; the finer one is averaged to the other's grid."""
    size = (min(student.shape[1], teacher.shape[1]), min(student.shape[2], teacher.shape[2]))
    own, other = (F.adaptive_avg_pool2d(maps, size).flatten(1) for maps in (student, teacher))
    return (1 - F.cosine_similarity(own, other, dim=1)).mean()


class LookAlike(FeatureKD):
    name = "look_alike"
    summary = "The teacher's output, its features, and where it looks for the class that it answers."
    paper = "Parchami-Araghi et al., ECCV 2024"
    needs = "features"

    delta: Annotated[
        float,
        Option("How strongly the student's heat map is drawn to the teacher's. 0 leaves that out.", ge=0),
    ] = 1.0

    def teacher_view(self, batch: Batch) -> Explained:
        with torch.enable_grad(), torch.autocast(batch.x.device.type, torch.bfloat16, enabled=self.teacher_bfloat16):
            x = batch.x.detach().requires_grad_()
            view = View(*self.teacher_model.forward_with_features(x))
            heat = gradcam(view, view.logits.argmax(dim=1))
        return Explained(view.logits.detach(), [maps.detach() for maps in view.features], heat.detach())

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        loss = super().distill(student, teacher, batch)
        if not self.delta or not isinstance(teacher, Explained):
            return loss
        own = gradcam(student, teacher.logits.argmax(dim=1), keep=True)
        return loss + self.delta * map_distance(own, teacher.heat)
