"""What runs a network: torch for teachers, ONNX Runtime for students as shipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Engine = Callable[["Tensor"], np.ndarray]
"""Prepared input (B, 3, S, S) to logits (B, K)."""


def torch_engine(model: Any) -> Engine:
    """A torch network in eager mode, in the memory format of its weights."""
    import torch

    weight = next(p for p in model.parameters() if p.dim() == 4)
    last = weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    layout = torch.channels_last if last else torch.contiguous_format

    def run(x: Tensor) -> np.ndarray:
        with torch.inference_mode(), flushed_denormals():
            logits: np.ndarray = model(x.contiguous(memory_format=layout)).numpy()
        return logits

    return run


def onnx_engine(path: Path, threads: int) -> Engine:
    """A shipped ONNX file on ONNX Runtime's processor kernels, with `threads` threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    with flushed_denormals():
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(x: Tensor) -> np.ndarray:
        with flushed_denormals():
            logits: np.ndarray = session.run(None, {name: x.contiguous().numpy()})[0]
        return logits

    return run


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Numbers too small to matter count as zero inside: they slow a processor down tenfold.

    The flag is the calling thread's, and ONNX Runtime sets it as well; outside it is always off, as NumPy expects.
    """
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
