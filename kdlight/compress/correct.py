"""Biases that make up for rounded weights.

Rounding a layer's weights shifts the mean of its outputs, and the shifts add up from layer to layer. Empirical bias
correction (Nagel et al., ICCV 2019, https://arxiv.org/abs/1906.04721) takes the mean shift of each output channel, seen
on real images, off the layer's bias: layer after layer, each behind those already corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

LAYERS = ("Conv", "Gemm")


def correct(source: Path, path: Path, batches: Sequence[np.ndarray]) -> None:
    """Write the float file with its weights rounded to int8 per output channel and its biases corrected.

    The quantizer finds the same int8 weights in it again. batches: prepared inputs float32 (B, 3, S, S). Layers without
    a bias, or whose weights are no constants with the output channel first, stay as they are.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(source)
    constants = {constant.name: constant for constant in model.graph.initializer}
    layers = [node for node in model.graph.node if _fits(node, constants)]
    wanted = _means(model, [node.output[0] for node in layers], batches)
    for node in layers:
        weight, bias = constants[node.input[1]], constants[node.input[2]]
        rounded = round_weights(numpy_helper.to_array(weight))
        weight.CopyFrom(numpy_helper.from_array(rounded, weight.name))
        (found,) = _means(model, [node.output[0]], batches)
        shifted = numpy_helper.to_array(bias) + (wanted.pop(0) - found)
        bias.CopyFrom(numpy_helper.from_array(shifted.astype(np.float32), bias.name))
    onnx.save(model, path)


def round_weights(weights: np.ndarray) -> np.ndarray:
    """Weights (C, ...) to the nearest of 255 even steps of each output channel: scale = largest weight / 127."""
    flat = weights.reshape(len(weights), -1)
    scale = np.abs(flat).max(axis=1, keepdims=True) / 127
    scale[scale == 0] = 1
    rounded: np.ndarray = (np.rint(flat / scale) * scale).reshape(weights.shape).astype(np.float32)
    return rounded


def _fits(node: Any, constants: dict[str, Any]) -> bool:
    if node.op_type not in LAYERS or len(node.input) < 3 or not all(name in constants for name in node.input[1:3]):
        return False
    first = {attribute.name: attribute.i for attribute in node.attribute}.get("transB", 0)
    return bool(node.op_type == "Conv" or first == 1)


def _means(model: Any, names: Sequence[str], batches: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The mean of each named tensor per channel (C,), over the images and the plane."""
    import onnx
    import onnxruntime

    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    known = {output.name for output in asked.graph.output}
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 1, 1
    session = onnxruntime.InferenceSession(asked.SerializeToString(), options, providers=["CPUExecutionProvider"])
    totals = [np.zeros(1)] * len(names)
    for batch in batches:
        outputs = session.run(list(names), {"input": batch})
        totals = [t + o.sum(axis=(0, *range(2, o.ndim))) / o[:, :1].size for t, o in zip(totals, outputs, strict=True)]
    return [total / len(batches) for total in totals]
