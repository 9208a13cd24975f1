"""A network made ready to score many masked images, and the threads that do it.

Batch norm is folded into the convolutions, in channels-last order: that changes nothing but rounding. Each thread takes
whole batches: threads that share one batch wait for each other after every layer, and for whatever else the machine is
doing. bfloat16 is not used: MobileNetV2's scores move by some 0.4 logits in it, and the map with them.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kdlight.explain.base import logit
from kdlight.explain.lattice import Lattice

Net = TypeVar("Net", bound=nn.Module)
PIXELS = 16 * 128 * 128
"""Pixels of a batch, however large the inputs: more of them leave the processor's cache and take longer each."""


class Scorer:
    """Class scores of x (1, C, H, W) seen through masks; the model itself is left alone.

    Used in a with statement: inside it, torch's threads are the scorer's, and the caller's own torch calls have one.
    """

    def __init__(self, model: nn.Module, x: Tensor, class_index: int, lattice: Lattice) -> None:
        self.x, self.class_index, self.lattice = x, class_index, lattice
        self.threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self.threads, "score", torch.set_num_threads, (1,))
        self.batch = max(1, PIXELS // (x.shape[-2] * x.shape[-1]))
        self._net = folded(model)

    def __enter__(self) -> Self:
        torch.set_num_threads(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self.threads)

    def __call__(self, maps: Tensor, report: Callable[[int], None] | None = None) -> Tensor:
        """Feature maps (B, h, w), any number of them, as masks: their scores (B,).

        report(done) is called after every batch; what it raises ends the work: the threads finish the batch at hand.
        """
        scores: list[Tensor] = []
        for batch in self._pool.map(self._score, self._parts(maps)):
            scores.append(batch)
            if report is not None:
                report(sum(map(len, scores)))
        return torch.cat(scores)

    def _parts(self, maps: Tensor) -> tuple[Tensor, ...]:
        """Batches of nearly one size, as many for each thread where they are few."""
        count = math.ceil(len(maps) / self.batch)
        even = math.ceil(count / self.threads) * self.threads
        return torch.split(maps, math.ceil(len(maps) / even))

    @torch.inference_mode()
    def _score(self, maps: Tensor) -> Tensor:
        inputs = (self.x * masks(maps, self.lattice, self.x.shape[-2:])).contiguous(memory_format=torch.channels_last)
        return logit(self._net(inputs), self.class_index).float()


def masks(maps: Tensor, lattice: Lattice, size: torch.Size) -> Tensor:
    """Feature maps (B, h, w) to masks (B, 1, H, W) in [0, 1] over the input."""
    large = lattice.enlarge(maps[:, None], size)  # (B, 1, H, W)
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    return (large - low) / (high - low + 1e-8)


def folded(model: Net) -> Net:
    """A copy in channels-last order whose batch norms are inside the convolutions right before them; eval mode.

    Nothing but rounding changes, and gradients still reach every layer's output.
    """
    copied = copy.deepcopy(model, {id(one): one for one in model.parameters()})  # replaced, never written
    for block in [one for one in copied.modules() if isinstance(one, nn.Sequential)]:
        for name, after in itertools.pairwise(list(block._modules)):
            first, second = block._modules[name], block._modules[after]
            # a batch norm's subclass may hold an activation, which would be lost
            if isinstance(first, nn.Conv2d) and type(second) is nn.BatchNorm2d:
                block._modules[name] = nn.Identity()
                block._modules[after] = fuse_conv_bn_eval(first, second)
    return copied.eval().to(memory_format=torch.channels_last)
