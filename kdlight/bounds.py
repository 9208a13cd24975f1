"""What a processor could do at best: arithmetic at its measured peak, or the way of all numbers to memory and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdlight.models import Classifier, macs
from kdlight.stopwatch import race


def training_bound(student: Classifier, teacher: Classifier, images: int, size: int) -> dict[str, float]:
    """What an epoch would take if only one thing did: arithmetic at the measured peak, or the maps' way to memory.

    A step is reckoned as three forward passes: the gradients of maps and of weights cost one each. Bytes are those of
    each layer's input and output, read or written forward and backward; what stays in the processor's caches is
    faster, so the way to memory is no strict bound.
    """
    gmacs, gigabytes = peaks()
    learn, ask = (1e-6 * images * macs(model, size) / gmacs for model in (student, teacher))
    return {
        "peak_gmacs": gmacs,
        "peak_gigabytes_per_second": gigabytes,
        "student_arithmetic_ms": 3 * learn,
        "student_memory_ms": 1e-6 * images * traffic(student, size) / gigabytes,
        "teacher_arithmetic_ms": ask,
    }


def traffic(model: nn.Module, size: int) -> int:
    """Bytes in float32 that the layers of a network read and write to learn from one image, weights not counted.

    Forward a layer reads its input and writes its output; backward it reads its input and the output's gradient and
    writes the input's gradient.
    """
    total = 0

    def add(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += 4 * (3 * given[0].numel() + 2 * output.numel())

    leaves = [module for module in model.modules() if not list(module.children())]
    hooks = [leaf.register_forward_hook(add) for leaf in leaves]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return total


def peaks(side: int = 1024) -> tuple[float, float]:
    """Multiply-adds (1e9 a second) in float32 and bytes (1e9 a second) of a copy, the best of ten."""
    long = torch.rand(2**25)
    target = torch.empty_like(long)
    times = race({"copy": lambda: target.copy_(long)}, rounds=10, warmups=2)
    return product_rate(side=side), 2 * long.nbytes / min(times["copy"]) / 1e6


def product_rate(kind: torch.dtype = torch.float32, side: int = 1024) -> float:
    """Multiply-adds (1e9 a second) of a matrix product of one type, the best of ten."""
    square = torch.rand(side, side).to(kind)
    times = race({"product": lambda: square @ square}, rounds=10, warmups=2)
    return side**3 / min(times["product"]) / 1e6
