"""Knowledge distillation from a stronger teacher, DIST (Huang et al., NeurIPS 2022), https://arxiv.org/abs/2205.10536.

Relations are kept, not values: d(u, v) = 1 - Pearson's correlation, which shifting or scaling either side leaves as it
is. With probabilities Y = softmax(z / T), rows are images and columns are classes:
L = CE + T^2 (beta mean_i d(Y_s[i, :], Y_t[i, :]) + gamma mean_k d(Y_s[:, k], Y_t[:, k]))
With two classes the rows can only correlate by 1 or -1 and have no gradient, so the method asks for three or more.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor
from torch.nn import functional as F

from kdlight.contracts.options import Option
from kdlight.distillers.base import Batch, Distiller, Temperature, View


def pearson_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - Pearson's correlation of each row with its namesake, mean over the rows; (N, M) each. 0 to 2."""
    centered = [rows - rows.mean(dim=1, keepdim=True) for rows in (student, teacher)]
    return 1 - F.cosine_similarity(centered[0], centered[1], dim=1).mean()


class DIST(Distiller):
    name = "dist"
    summary = "The student keeps how the teacher ranks classes within an image, and images within a class."
    paper = "Huang et al., NeurIPS 2022"
    tasks = ("multi-class",)
    needs = "logits"

    beta: Annotated[float, Option("Weight of how the teacher ranks the classes within an image.", ge=0)] = 2.0
    gamma: Annotated[float, Option("Weight of how the teacher ranks the images of one class.", ge=0)] = 2.0
    temperature: Temperature = 1.0

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        p, q = ((view.logits.float() / self.temperature).softmax(dim=1) for view in (student, teacher))
        between, within = pearson_distance(p, q), pearson_distance(p.T, q.T)
        return self.temperature**2 * (self.beta * between + self.gamma * within)
