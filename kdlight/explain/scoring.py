"""A network made ready to score many masked images: batch norm folded into convolutions, channels last, half precision.

Folding changes nothing but rounding. bfloat16 is taken only where it proves itself on the first batch: it must be
faster on this processor, and its scores must agree with those of float32.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kdlight.explain.base import logit

PIXELS = 16 * 128 * 128
"""Pixels of a batch, however large the inputs: more of them leave the processor's cache and take longer each."""
FASTER = 1.25
"""bfloat16 must be this many times faster to be taken."""
OFF = 0.1
"""Largest root mean square difference of a bfloat16 score, in logits, for it to be taken."""
TRIAL = 4
"""Inputs that the comparison needs; a smaller first batch stays in float32."""


class Scorer:
    """Class scores of x (1, C, H, W) seen through masks; the model itself is left alone."""

    def __init__(self, model: nn.Module, x: Tensor, class_index: int, half: bool = True) -> None:
        """half: whether bfloat16 may be tried; it costs the time of a batch."""
        self.x, self.class_index = x, class_index
        self.batch = max(1, PIXELS // (x.shape[-2] * x.shape[-1]))
        self._net = prepared(model)
        self._half: nn.Module | None = None
        self._tried = not half or x.device.type != "cpu"

    @torch.inference_mode()
    def __call__(self, masks: Tensor) -> Tensor:
        """Masks (B, 1, H, W), any number of them, to scores (B,), a batch at a time."""
        return torch.cat([self._score(some) for some in torch.split(masks, self.batch)])

    def _score(self, masks: Tensor) -> Tensor:
        inputs = (self.x * masks).contiguous(memory_format=torch.channels_last)
        if self._half is not None:
            return logit(self._half(inputs.bfloat16()), self.class_index).float()
        if not self._tried and len(inputs) >= TRIAL:
            return self._try(inputs)
        return logit(self._net(inputs), self.class_index)

    def _try(self, inputs: Tensor) -> Tensor:
        """Score a batch in float32, and in bfloat16 as well to see whether that will do for the rest."""
        self._tried = True
        half = copy.deepcopy(self._net).bfloat16()
        rough, took = _timed(lambda: half(inputs.bfloat16()))
        fine, takes = _timed(lambda: self._net(inputs))
        off = logit(rough.float() - fine, self.class_index).square().mean().sqrt()
        if takes > FASTER * took and off < OFF:  # a NaN is not taken
            self._half = half
        return logit(fine, self.class_index)


def prepared(model: nn.Module) -> nn.Module:
    """A copy in channels-last order whose batch norms are folded into the convolutions right before them."""
    own = copy.deepcopy(model).eval()
    for block in own.modules():
        if isinstance(block, nn.Sequential):
            names = list(block._modules)
            for name, after in itertools.pairwise(names):
                first, second = block._modules[name], block._modules[after]
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    block._modules[name] = fuse_conv_bn_eval(first, second)
                    block._modules[after] = nn.Identity()
    return own.to(memory_format=torch.channels_last)


def _timed(call: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """What a call gives the second time, and its processor seconds: the first prepares kernels, others may be busy."""
    call()
    started = time.process_time()
    result = call()
    return result, time.process_time() - started
