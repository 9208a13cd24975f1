"""The student as ONNX with float16 weights: half the bytes of the shipped file, and the very same answers.

A bundle's weights are numbers that float16 holds (`round_to_half`). Folding batch norm into a convolution gives others,
so here batch norm stays in the file and the runtime folds it when it loads: the arithmetic is float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdlight.compress.graph import compact
from kdlight.compress.onnx import trace
from kdlight.models import Classifier

SMALLEST = 16
"""Constants of fewer numbers stay as they are: a Cast node takes more bytes than they would save."""


def export_half(model: Classifier, path: Path, size: int) -> None:
    """Write what `export_onnx` writes, with every large weight in float16.

    A weight that float16 does not hold exactly stays float32, so nothing is lost whatever the model.
    """
    import onnx

    trace(model, path, size, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    graph = onnx.load(path)
    _halve(graph.graph)
    compact(graph)
    path.write_bytes(graph.SerializeToString())


def _halve(graph: Any) -> None:
    """Each large float32 constant as float16 behind a Cast, where that is exact."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for constant in graph.initializer:
        values = numpy_helper.to_array(constant)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.dtype != np.float32 or values.size < SMALLEST or not np.array_equal(half.astype(np.float32), values):
            continue
        name = constant.name
        constant.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]
    graph.ClearField("node")
    graph.node.extend(nodes)
