"""Knowledge distillation from a stronger teacher, DIST (Huang et al., NeurIPS 2022), https://arxiv.org/abs/2205.10536.

Relations are kept, not values: d(u, v) = 1 - Pearson's correlation, which shifting or scaling either side leaves as it
is. With probabilities Y = softmax(z / T), rows are images and columns are classes:
L = CE + T^2 (beta mean_i d(Y_s[i, :], Y_t[i, :]) + gamma mean_k d(Y_s[:, k], Y_t[:, k]))
With two classes the rows can only correlate by 1 or -1 and have no gradient, so the method asks for three or more.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from kdlight.distillers.base import Batch, Distiller, View


def pearson_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - Pearson's correlation of each row with its namesake, mean over the rows; (N, M) each. 0 to 2."""
    own, other = (rows - rows.mean(dim=1, keepdim=True) for rows in (student, teacher))
    return 1 - F.cosine_similarity(own, other, dim=1).mean()


class DIST(Distiller):
    """The student keeps how the teacher ranks classes within an image, and images within a class."""

    name = "dist"
    paper = "Huang et al., NeurIPS 2022"
    reads = "logits"
    unlabeled = True
    tasks = ("multi-class",)

    def __init__(
        self, *args: Any, beta: float = 2.0, gamma: float = 2.0, temperature: float = 1.0, **kwargs: Any
    ) -> None:
        """beta: weight of classes within an image, 0 or above. gamma: weight of images within a class, 0 or above.

        temperature: above 0; larger shows more of the small classes.
        """
        super().__init__(*args, **kwargs)
        if beta < 0 or gamma < 0 or not temperature > 0:
            raise ValueError("dist needs beta and gamma of 0 or above, and a temperature above 0.")
        self.beta = beta
        self.gamma = gamma
        self.temperature = temperature

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        own, other = ((view.logits.float() / self.temperature).softmax(dim=1) for view in (student, teacher))
        between, within = pearson_distance(own, other), pearson_distance(own.T, other.T)
        return self.temperature**2 * (self.beta * between + self.gamma * within)
