"""Biases that make up for rounded weights.

Rounding a layer's weights shifts the mean of its outputs, and the shifts add up from layer to layer. Empirical bias
correction (Nagel et al., ICCV 2019, https://arxiv.org/abs/1906.04721) takes the mean shift of each output channel, seen
on real images, off the layer's bias: layer after layer, each behind those already corrected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdlight.compress.rounding import products, refit, round_weights

LAYERS = ("Conv", "Gemm")


def correct(source: Path, path: Path, batches: Sequence[np.ndarray]) -> None:
    """Write the float file with its weights rounded to int8 per output channel (`rounding`), its biases corrected.

    The quantizer finds the same int8 weights in it again. batches: prepared inputs float32 (B, 3, S, S). Layers whose
    weights are no constants with the output channel first stay as they are; those without a bias are only rounded.
    """
    import onnx
    from onnx import numpy_helper

    true, model = onnx.load(source), onnx.load(source)
    constants = {constant.name: constant for constant in model.graph.initializer}
    layers = [node for node in model.graph.node if _fits(node, constants)]
    wanted = _means(true, [node.output[0] for node in layers], batches)
    for node in layers:
        weight = constants[node.input[1]]
        values = numpy_helper.to_array(weight)
        gram, cross = _products(node, values.shape, model, true, batches)
        rounded = round_weights(refit(values, gram, cross), gram)
        weight.CopyFrom(numpy_helper.from_array(rounded, weight.name))
        mean = wanted.pop(0)
        if len(node.input) == 3:
            bias = constants[node.input[2]]
            shifted = numpy_helper.to_array(bias) + mean - _means(model, [node.output[0]], batches)[0]
            bias.CopyFrom(numpy_helper.from_array(shifted.astype(np.float32), bias.name))
    onnx.save(model, path)


def _fits(node: Any, constants: dict[str, Any]) -> bool:
    if node.op_type not in LAYERS or not all(name in constants for name in node.input[1:]):
        return False
    first = {attribute.name: attribute.i for attribute in node.attribute}.get("transB", 0)
    return bool(node.op_type == "Conv" or first == 1)


def _products(
    node: Any, shape: tuple[int, ...], model: Any, true: Any, batches: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Of the node's inputs (`products`): in the model with themselves, and those in the true one with them."""
    gram = cross = np.zeros(1)
    for (x,), (y,) in zip(*(_outputs(one, [node.input[0]], batches) for one in (model, true)), strict=True):
        gram, cross = gram + products(x, x, node, shape), cross + products(y, x, node, shape)
    return gram, cross


def _means(model: Any, names: Sequence[str], batches: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The mean of each named tensor per channel (C,), over the images and the plane."""
    totals = [np.zeros(1)] * len(names)
    for outputs in _outputs(model, names, batches):
        totals = [t + o.sum(axis=(0, *range(2, o.ndim))) / o[:, :1].size for t, o in zip(totals, outputs, strict=True)]
    return [total / len(batches) for total in totals]


def _outputs(model: Any, names: Sequence[str], batches: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """The named tensors of each batch; the input may be one of them."""
    import onnx
    import onnxruntime

    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    known = {value.name for value in (*asked.graph.output, *asked.graph.input)}
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 1, 1
    session = onnxruntime.InferenceSession(asked.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inside = [name for name in names if name != "input"]
    for batch in batches:
        found = dict(zip(inside, session.run(inside, {"input": batch}), strict=True)) if inside else {}
        yield [found.get(name, batch) for name in names]
