"""Several networks that answer as one, by the name `ensemble:<name>+<name>`: multi-teacher distillation.

Averaging the answers of several teachers (Hinton, Vinyals & Dean 2015, https://arxiv.org/abs/1503.02531; You et al.,
KDD 2017) needs no method of its own here: an ensemble is a teacher that any method can have. With members' logits z_m,
z = log mean_m softmax(z_m), so softmax(z) is the mean of their probabilities.
`kd` at T = 1 then is the divergence from that mean; at another T the mean is softened as a whole, where averaging what
each member softens would differ slightly. Features and heat maps are the first member's: name the best one first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from kdlight.models.base import Classifier

PREFIX = "ensemble:"


def members(name: str) -> list[str]:
    """The names in `ensemble:<name>+<name>`. Raises ValueError if there are not two or more, or one is an ensemble."""
    names = name.removeprefix(PREFIX).split("+")
    if len(names) < 2 or not all(names) or any(one.startswith(PREFIX) for one in names):
        raise ValueError(f"{name!r} names no ensemble; ensemble:<name>+<name>, two models or more, was expected.")
    return names


class Ensemble(Classifier):
    """Members see the same x (B, 3, H, W); the logits (B, K) are the log of their mean probabilities.

    Trained by a recipe they learn together, on the loss of the mean.
    """

    def __init__(self, networks: Sequence[Classifier]) -> None:
        super().__init__()
        self.num_classes = networks[0].num_classes
        self.members = nn.ModuleList(networks)

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        logits, features = self._first.forward_with_features(x)
        answers = [logits, *(member(x) for member in self.members[1:])]
        return mean_answer(answers), features

    @property
    def cam_layer(self) -> nn.Module:
        return self._first.cam_layer

    @property
    def cam_layers(self) -> tuple[nn.Module, ...]:
        return self._first.cam_layers

    @property
    def fine_layers(self) -> tuple[nn.Module, ...]:
        return self._first.fine_layers

    @property
    def _first(self) -> Classifier:
        return cast(Classifier, self.members[0])


def mean_answer(logits: Sequence[Tensor]) -> Tensor:
    """Log of the mean of softmax over members; logits (B, K) each, log-probabilities (B, K)."""
    answers = torch.stack([one.float().log_softmax(dim=1) for one in logits])  # (M, B, K)
    return answers.logsumexp(dim=0) - math.log(len(logits))
