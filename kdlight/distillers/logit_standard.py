"""Logit standardization in KD (Sun et al., CVPR 2024), https://arxiv.org/abs/2403.01427.

Each image's logits are brought to mean 0 and deviation 1 before they are softened, so the student need not reach the
teacher's range, only its relations: Z(z) = (z - mean_k z) / (std_k z + 1e-7), std the unbiased one, as in the authors'
code, L = (1 - alpha) CE + weight T^2 KL(softmax(Z(z_t) / T) || softmax(Z(z_s) / T))
The weights alpha = 0.9, weight = 9, T = 2 are the authors' for 100 classes and more; for 3 to 7 classes nobody tuned
them, we neither. Standardized logits of K classes reach (K - 1) / sqrt(K) at most, so few classes want a lower T. Two
always lie alike: that tells only which is larger and has no gradient, so the method asks for three or more.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from kdlight.contracts.options import Option
from kdlight.distillers.base import Batch, Distiller, Temperature, View, softened_kl


def standardized(logits: Tensor) -> Tensor:
    """Logits (B, K) less each row's mean, over its unbiased deviation (over K - 1); rows of equal logits become 0."""
    centered = logits - logits.mean(dim=1, keepdim=True)
    variance = centered.square().sum(dim=1, keepdim=True) / (logits.shape[1] - 1)
    return centered / (variance.clamp_min(1e-14).sqrt() + 1e-7)


class LogitStandard(Distiller):
    name = "logit_standard"
    summary = "KD on logits that were standardized per image: the shape of an output counts, its range does not."
    paper = "Sun et al., CVPR 2024"
    tasks = ("multi-class",)
    needs = "logits"

    alpha: Annotated[float, Option("Weight that the labels give up: 1 leaves them out.", ge=0, le=1)] = 0.9
    weight: Annotated[float, Option("Weight of the teacher's output.", ge=0)] = 9.0
    temperature: Temperature = 2.0

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        logits, target = (standardized(view.logits.float()) for view in (student, teacher))
        return self.weight * softened_kl(logits, target, self.temperature)
