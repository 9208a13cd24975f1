"""A network made ready to score many masked images, and the threads that do it.

Batch norm is folded into the convolutions and the activation behind a convolution runs inside it, in channels-last
order: that changes nothing but rounding. Where the processor multiplies bfloat16, the first batch is scored in it as
well, and the rest if the scores agree. Each thread takes whole batches: threads that share one batch wait for each
other after every layer, and for whatever else the machine is doing.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kdlight.explain.base import logit

PIXELS = 16 * 128 * 128
"""Pixels of a batch, however large the inputs: more of them leave the processor's cache and take longer each."""
OFF = 0.02
"""Largest root mean square difference of a bfloat16 score, in logits, for it to be taken."""
TRIAL = 4
"""Inputs that the comparison needs; a smaller first batch stays in float32."""
INSIDE: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.Hardswish: ("hardswish", []),
}
"""Activations that can run inside a convolution, as oneDNN calls them."""


class Scorer:
    """Class scores of x (1, C, H, W) seen through masks; the model itself is left alone.

    Used in a with statement: inside it, torch's threads are the scorer's, and the caller's own torch calls have one.
    """

    def __init__(self, model: nn.Module, x: Tensor, class_index: int) -> None:
        self.x, self.class_index = x, class_index
        self.threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self.threads, "score", torch.set_num_threads, (1,))
        self.batch = max(1, PIXELS // (x.shape[-2] * x.shape[-1]))
        self._net = prepared(model)
        self._half: nn.Module | None = None
        self._tried = x.device.type != "cpu" or not multiplies_bfloat16()

    def __enter__(self) -> Self:
        torch.set_num_threads(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self.threads)

    def __call__(self, maps: Tensor, told: Callable[[int], None] | None = None) -> Tensor:
        """Feature maps (B, h, w), any number of them, as masks: their scores (B,).

        told(done) hears after every batch; what it raises ends the work: the threads finish the batch at hand.
        """
        scores: list[Tensor] = []
        for found in self._found(self._parts(maps)):
            scores.append(found)
            if told is not None:
                told(sum(map(len, scores)))
        return torch.cat(scores)

    def _found(self, parts: tuple[Tensor, ...]) -> Iterator[Tensor]:
        """The scores batch by batch, in order."""
        if not self._tried and len(parts[0]) >= TRIAL:
            yield self._try(parts[0])
            parts = parts[1:]
        net = self._net if self._half is None else self._half
        yield from self._pool.map(lambda part: self._score(net, part), parts)

    def _parts(self, maps: Tensor) -> tuple[Tensor, ...]:
        """Batches of nearly one size, as many for each thread where they are few."""
        count = math.ceil(len(maps) / self.batch)
        even = math.ceil(count / self.threads) * self.threads
        return torch.split(maps, math.ceil(len(maps) / even))

    @torch.inference_mode()
    def _score(self, net: nn.Module, maps: Tensor) -> Tensor:
        kind = torch.bfloat16 if net is self._half else self.x.dtype
        inputs = (self.x * masks(maps, self.x.shape[-2:])).to(kind, memory_format=torch.channels_last)
        return logit(net(inputs), self.class_index).float()

    def _try(self, maps: Tensor) -> Tensor:
        """Score a batch in float32, and in bfloat16 as well to see whether that will do for the rest."""
        self._tried = True
        self._half = copy.deepcopy(self._net).bfloat16()
        fine, rough = self._pool.map(lambda net: self._score(net, maps), (self._net, self._half))
        if not (rough - fine).square().mean().sqrt() < OFF:  # a NaN is not taken
            self._half = None
        found: Tensor = fine
        return found


def masks(maps: Tensor, size: torch.Size) -> Tensor:
    """Feature maps (B, h, w) to masks (B, 1, H, W) in [0, 1] over the input."""
    large = interpolate(maps[:, None], size=size, mode="bilinear", align_corners=True)  # (B, 1, H, W)
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    return (large - low) / (high - low + 1e-8)


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16; emulated they would be slower than float32."""
    found = torch.cpu.get_capabilities()
    return any(bool(found.get(name)) for name in ("avx512_bf16", "amx_bf16"))


def prepared(model: nn.Module) -> nn.Module:
    """A copy in channels-last order; batch norms and activations are inside the convolutions right before them."""
    own = copy.deepcopy(model).eval()
    for block in own.modules():
        if isinstance(block, nn.Sequential):
            _join(block)
    return own.to(memory_format=torch.channels_last)


def _join(block: nn.Sequential) -> None:
    names = list(block._modules)
    for name, after in itertools.pairwise(names):
        first, second = block._modules[name], block._modules[after]
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            block._modules[name] = nn.Identity()
            block._modules[after] = fuse_conv_bn_eval(first, second)
    for name, after in itertools.pairwise(names):
        first, second = block._modules[name], block._modules[after]
        if isinstance(first, nn.Conv2d) and type(second) in INSIDE and Joined.fits(first):
            block._modules[name] = Joined(first, *INSIDE[type(second)])
            block._modules[after] = nn.Identity()


class Joined(nn.Module):
    """A convolution and its activation in one pass over the memory, by the operation that torch's compiler uses."""

    def __init__(self, conv: nn.Conv2d, activation: str, limits: list[float]) -> None:
        super().__init__()
        self.conv, self.activation, self.limits = conv, activation, limits

    @staticmethod
    def fits(conv: nn.Conv2d) -> bool:
        known = hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        return (
            known
            and conv.weight.device.type == "cpu"
            and conv.padding_mode == "zeros"
            and not isinstance(conv.padding, str)
        )

    def forward(self, x: Tensor) -> Tensor:
        own = self.conv
        shape = own.padding, own.stride, own.dilation, own.groups
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, own.weight, own.bias, *shape, self.activation, self.limits, ""
        )
        return found
