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

TOLD = 2
"""Rounds of picks whose misses say how far the predictions can be trusted."""


class Surrogate:
    """Knows points (M, D), learns some of their scores, and predicts all: `mean` (M,) and `variance` (M,)."""

    def __init__(self, points: Tensor, sizes: Tensor) -> None:
        """sizes (M,): how much each score weighs in the end."""
        self.squares = torch.cdist(points.double(), points.double()).square()  # (M, M)
        self.sizes = sizes.double() / sizes.double().amax().clamp(min=1e-12)
        self.known = torch.empty(0, dtype=torch.long)
        self.scores = torch.empty(0, dtype=torch.double)
        self.median = self.squares.median().clamp(min=1e-12)
        self.mean = torch.zeros(len(points), dtype=torch.double)
        self.variance = torch.ones(len(points), dtype=torch.double)
        self.width = 1.0
        self._misses: list[float] = []

    def pick(self, count: int) -> Tensor:
        """Indices of up to `count` points whose scores are worth the most now."""
        weight = self.sizes * torch.softmax(self.mean, 0) if len(self.known) else self.sizes
        factor = self._factor()  # (M, P), a column for every known point
        open_ = 1 + NUGGET - factor.square().sum(1)  # share of each score's variance that the known ones leave
        picked: list[int] = []
        for _ in range(min(count, len(self.sizes) - len(self.known))):
            worth = weight.square() * open_
            worth[self.known] = worth[picked] = -1
            picked.append(int(worth.argmax()))
            near = self._cross(torch.tensor(picked[-1:]))[:, 0] - factor @ factor[picked[-1]]
            factor = torch.cat([factor, (near / open_[picked[-1]].sqrt())[:, None]], 1)
            open_ = open_ - factor[:, -1].square()
        return torch.tensor(picked, dtype=torch.long)

    def learn(self, points: Tensor, scores: Tensor) -> None:
        """Take in the scores (P,) of these points (P,), and predict the rest anew with the width that fits best."""
        if len(self.known):
            miss = (scores.double() - self.mean[points]).square() / self.variance[points].clamp(min=1e-12)
            self._misses.append(float(miss.mean()))
        self.known = torch.cat([self.known, points])
        self.scores = torch.cat([self.scores, scores.double()])
        self.width = max(WIDTHS, key=self._fit)
        solved = torch.linalg.solve(self._kernel(self.known, self.known), self._centered())
        near = self._cross(self.known)  # (M, P)
        self.mean = self.scores.mean() + near @ solved
        self.mean[self.known] = self.scores
        self.variance = self._scale() * self._unknown(self.known)
        self.variance[self.known] = 0

    def draw(self, count: int) -> Tensor:
        """Scores (count, M) as they may be, given what is known: likes err together; the same every time.

        They spread more than the process says where its last TOLD predictions missed by more than it said.
        """
        points = torch.arange(len(self.mean))
        factor, even = self._factor(), NUGGET * torch.eye(len(points), dtype=torch.double)
        open_ = self._cross(points) + even - factor @ factor.T  # (M, M), how the unknown shares go together
        lower = torch.linalg.cholesky(open_ + even)
        noise = torch.randn(count, len(points), dtype=torch.double, generator=torch.Generator().manual_seed(0))
        missed = max(1.0, sum(self._misses[-TOLD:]) / max(1, len(self._misses[-TOLD:])))
        drawn: Tensor = self.mean + noise @ lower.T * (missed * self._scale().clamp(min=0)).sqrt()
        drawn[:, self.known] = self.scores
        return drawn

    def _factor(self) -> Tensor:
        """Known columns of the kernel's Cholesky factor (M, P): one more column for each point that becomes known."""
        if not len(self.known):
            return torch.zeros(len(self.sizes), 0, dtype=torch.double)
        lower = torch.linalg.cholesky(self._kernel(self.known, self.known))
        found: Tensor = torch.linalg.solve_triangular(lower, self._cross(self.known).T, upper=False).T
        return found

    def _centered(self) -> Tensor:
        return self.scores - self.scores.mean()

    def _scale(self) -> Tensor:
        """The variance of a score far from all others."""
        centered = self._centered()
        found: Tensor = centered @ torch.linalg.solve(self._kernel(self.known, self.known), centered) / len(centered)
        return found

    def _fit(self, width: float) -> float:
        """Log likelihood of the known scores, with the variance that fits best."""
        self.width = width
        half = float(torch.linalg.slogdet(self._kernel(self.known, self.known))[1])
        return -len(self.known) * math.log(float(self._scale()) + 1e-12) - half

    def _unknown(self, known: Tensor) -> Tensor:
        """Share of each point's variance (M,) that the known ones leave open."""
        near = self._cross(known)
        explained = (near * torch.linalg.solve(self._kernel(known, known), near.T).T).sum(1)
        found: Tensor = (1 + NUGGET - explained).clamp(min=0)
        return found

    def _cross(self, known: Tensor) -> Tensor:
        found: Tensor = torch.exp(-0.5 * self.squares[:, known] / (self.median * self.width**2))
        return found

    def _kernel(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Kernel among known points (P, P), with the nugget on its diagonal."""
        found: Tensor = self._cross(columns)[rows] + NUGGET * torch.eye(len(rows), dtype=torch.double)
        return found
