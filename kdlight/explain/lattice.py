"""Where the cells of a feature map lie on the input: at the centers of their receptive fields.

Dumoulin & Visin 2016, https://arxiv.org/abs/1603.07285; Araujo et al., Distill 2019,
https://distill.pub/2019/computing-receptive-fields. A layer of kernel k, stride s and padding p whose input cells lie
at a + i j puts its own at a + j ((k - 1) / 2 - p) + i (s j). So behind padded 3 x 3 convolutions of stride 2 cell i
lies at i times the stride: enlarged as a picture is, half a cell further, a map lies beside what the network used.
`kdlight.explain.trace` finds the lattice of any layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Axis:
    """The cells along one side of the input, in pixels; pixel 0 has its center at 0."""

    first: float
    """Center of the first cell."""
    step: float
    """From one center to the next."""
    count: int

    @property
    def centers(self) -> Tensor:
        """Of every cell (count,), in pixels."""
        return self.first + self.step * torch.arange(self.count)

    def weights(self, places: Tensor, fade: bool = False) -> Tensor:
        """Linear interpolation (P, count) of the cells at places (P,) in pixels; beyond the outer cells, their values.

        fade: an outer cell's value holds in its own half and is gone a whole cell away, as that of an inner cell is.
        Else the side without a border cell (the right and lower one, behind strided convolutions) would have more of
        the map than the other.
        """
        between = (places - self.first) / self.step
        inside = between.clamp(0, self.count - 1)
        weights = (1 - (inside[:, None] - torch.arange(self.count)).abs()).clamp(min=0)
        return weights * (2 - 2 * (between - inside).abs()).clamp(0, 1)[:, None] if fade else weights

    def behind(self, kernel: int, stride: int, padding: float, count: int) -> Axis:
        """The cells behind a layer that slides a kernel over these; `count` of them came out."""
        return Axis(self.first + self.step * ((kernel - 1) / 2 - padding), self.step * stride, count)

    def merged(self, count: int) -> Axis:
        """The cells after neighbors were merged until `count` were left, as patch merging does."""
        ways = self.ways(count)
        return Axis(self.first + self.step * (ways - 1) / 2, self.step * ways, count)

    def ways(self, count: int) -> int:
        """How many cells became one where `count` are left; 0 where no merging leaves so many, but for padding."""
        ways = round(self.count / count)
        return ways if abs(self.count - ways * count) < ways else 0

    def resized(self, count: int) -> Axis:
        """The cells after interpolation to `count`, the outer edges kept."""
        ratio = self.count / count
        return Axis(self.first + self.step * (ratio - 1) / 2, self.step * ratio, count)


@dataclass(frozen=True, slots=True)
class Lattice:
    """The cells of a map (h, w) over an input (H, W)."""

    rows: Axis
    columns: Axis

    @property
    def cell(self) -> float:
        """Side of one cell in pixels of the input, the longer one."""
        return max(self.rows.step, self.columns.step)

    def enlarge(self, values: Tensor, size: Sequence[int], fade: bool = False) -> Tensor:
        """Maps (..., h, w) to (..., H, W): each cell at its center, linear between centers; fade: as in `weights`."""
        return self.onto(pixels(size), values, fade)

    def onto(self, other: Lattice, values: Tensor, fade: bool = False) -> Tensor:
        """Maps (..., h, w) on these cells to (..., h', w') on those of another lattice over the same input."""
        sides = zip(self.axes, other.axes, strict=True)
        rows, columns = (_weights(axis, to, fade).to(values) for axis, to in sides)
        return rows @ values @ columns.T

    @property
    def cells(self) -> int:
        """How many there are."""
        return self.rows.count * self.columns.count

    @property
    def axes(self) -> tuple[Axis, Axis]:
        return self.rows, self.columns

    def reaches(self, sides: Sequence[int]) -> bool:
        """Whether a tensor of these last sides can hold the cells, as they are or with neighbors merged alike."""
        ways = [axis.ways(side) for axis, side in zip(self.axes, sides, strict=True)]
        return ways[0] == ways[1] > 0

    def each(self, change: Callable[[Axis, int], Axis], sides: Sequence[int]) -> Lattice:
        """A lattice whose axes are changed, each by its own number."""
        return Lattice(*(change(axis, side) for axis, side in zip(self.axes, sides, strict=True)))


@lru_cache(maxsize=256)
def _weights(axis: Axis, other: Axis, fade: bool) -> Tensor:
    with torch.inference_mode(False):
        return axis.weights(other.centers, fade)


def pixels(size: Sequence[int]) -> Lattice:
    """The input itself: one cell per pixel."""
    return Lattice(*(Axis(0.0, 1.0, side) for side in size))
