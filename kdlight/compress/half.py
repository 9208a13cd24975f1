"""The student as ONNX with float16 weights: half the bytes of the shipped file, and the very same answers.

A bundle's weights are numbers that float16 holds (`round_to_half`). Folding batch norm into a convolution gives others,
so here batch norm stays in the file and the runtime folds it when it loads: the arithmetic is float32.
"""

from __future__ import annotations

from pathlib import Path

import torch

from kdlight.compress.graph import compact, halve
from kdlight.compress.onnx import trace
from kdlight.models import Classifier


def export_half(model: Classifier, path: Path, size: int) -> None:
    """Write what `export_onnx` writes, with every large weight in float16.

    A weight that float16 does not hold exactly stays float32, so nothing is lost whatever the model.
    """
    import onnx

    trace(model, path, size, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    graph = onnx.load(path)
    halve(graph.graph)
    compact(graph)
    path.write_bytes(graph.SerializeToString())
