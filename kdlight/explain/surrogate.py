"""The scores of masks that nobody scored, predicted from those of their likes by a Gaussian process.

Rasmussen & Williams 2006, chapter 2 (http://gaussianprocess.org/gpml/); its use for Score-CAM is ours. A score is a
smooth function of its mask, and a mask has only as many numbers as its feature map has cells (49 at 224 px). Masks are
picked where the prediction is least certain and weighs most in the map: first by the size of their feature maps alone,
then by their predicted weight too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

WIDTHS = (0.5, 1.0, 2.0, 4.0)
"""Lengths of the kernel that are tried, in median distances between masks."""
NUGGET = 1e-3
"""Share of a score's variance that its neighbors say nothing about."""

CALIBRATED = 2
"""Rounds of picks whose misses say how far the predictions can be trusted."""


class Surrogate:
    """Knows points (M, D), learns some of their scores, and predicts all: `mean` (M,) and `variance` (M,)."""

    def __init__(self, points: Tensor, sizes: Tensor) -> None:
        """sizes (M,): how much each score weighs in the end."""
        self.squares = torch.cdist(points.double(), points.double()).square()  # (M, M)
        self.median = self.squares.median().clamp(min=1e-12)
        self.sizes = sizes.double() / sizes.double().amax().clamp(min=1e-12)
        self.known = torch.empty(0, dtype=torch.long)
        self.scores = torch.empty(0, dtype=torch.double)
        self.mean = torch.zeros(len(points), dtype=torch.double)
        self.variance = torch.ones(len(points), dtype=torch.double)
        self.width, self.scale = 1.0, 1.0
        self._factor = torch.zeros(len(points), 0, dtype=torch.double)  # (M, P), known columns of the Cholesky factor
        self._misses: list[float] = []

    def pick(self, count: int) -> Tensor:
        """Indices of up to `count` points whose scores are worth the most now."""
        weight = self.sizes * torch.softmax(self.mean, 0) if len(self.known) else self.sizes
        done, count = len(self.known), min(count, len(self.sizes) - len(self.known))
        factor = torch.cat([self._factor, torch.zeros(len(self.sizes), count, dtype=torch.double)], 1)
        unexplained = self._unexplained()
        picked: list[int] = []
        for column in range(done, done + count):
            worth = weight.square() * unexplained
            worth[self.known] = worth[picked] = -1
            picked.append(int(worth.argmax()))
            near = self._kernel(self.squares[:, picked[-1]]) - factor[:, :column] @ factor[picked[-1], :column]
            factor[:, column] = near / unexplained[picked[-1]].sqrt()
            unexplained = unexplained - factor[:, column].square()
        return torch.tensor(picked, dtype=torch.long)

    def learn(self, points: Tensor, scores: Tensor) -> None:
        """Take in the scores (P,) of these points (P,), and predict the rest anew with the width that fits best."""
        if len(self.known):
            miss = (scores.double() - self.mean[points]).square() / self.variance[points].clamp(min=1e-12)
            self._misses.append(float(miss.mean()))
        self.known = torch.cat([self.known, points])
        self.scores = torch.cat([self.scores, scores.double()])
        self.width = max(WIDTHS, key=self._fit)
        lower, whitened = self._whitened()
        self.scale = float(whitened.square().mean())
        near = self._kernel(self.squares[self.known])  # (P, M)
        self._factor = torch.linalg.solve_triangular(lower, near, upper=False).T
        self.mean = self.scores.mean() + self._factor @ whitened
        self.mean[self.known] = self.scores
        self.variance = self.scale * self._unexplained()
        self.variance[self.known] = 0

    def draw(self, count: int) -> Tensor:
        """Scores (count, M) as they may be, given what is known: likes err together; the same every time.

        They spread more than the process says where its last CALIBRATED predictions missed by more than it states.
        """
        # (M, M), how the unknown shares go together; twice the nugget: its own, and for the decomposition's sake
        unexplained = self._kernel(self.squares) - self._factor @ self._factor.T
        lower = torch.linalg.cholesky(unexplained + 2 * NUGGET * torch.eye(len(self.mean), dtype=torch.double))
        noise = torch.randn(count, len(self.mean), dtype=torch.double, generator=torch.Generator().manual_seed(0))
        missed = max(1.0, sum(self._misses[-CALIBRATED:]) / max(1, len(self._misses[-CALIBRATED:])))
        drawn: Tensor = self.mean + noise @ lower.T * math.sqrt(missed * self.scale)
        drawn[:, self.known] = self.scores
        return drawn

    def _unexplained(self) -> Tensor:
        """Share of each score's variance (M,) that the known ones leave."""
        return (1 + NUGGET - self._factor.square().sum(1)).clamp(min=0)

    def _whitened(self) -> tuple[Tensor, Tensor]:
        """The Cholesky factor (P, P) of the known points' kernel, and the centered scores (P,) that it makes unlike."""
        even = NUGGET * torch.eye(len(self.known), dtype=torch.double)
        lower = torch.linalg.cholesky(self._kernel(self.squares[self.known][:, self.known]) + even)
        centered = (self.scores - self.scores.mean())[:, None]
        return lower, torch.linalg.solve_triangular(lower, centered, upper=False)[:, 0]

    def _fit(self, width: float) -> float:
        """Twice the log likelihood of the known scores, with the variance that fits best, up to a constant."""
        self.width = width
        lower, whitened = self._whitened()
        return -len(whitened) * math.log(float(whitened.square().mean()) + 1e-12) - 2 * float(
            lower.diagonal().log().sum()
        )

    def _kernel(self, squares: Tensor) -> Tensor:
        """How much two scores go together, by the squared distance of their masks."""
        return torch.exp(squares * (-0.5 / float(self.median * self.width**2)))
