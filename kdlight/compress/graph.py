"""Less around the same numbers: an ONNX file with short names, each constant once, and no notes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np

SMALLEST = 16
"""Constants of fewer numbers stay float32: a Cast node takes more bytes than they would save."""


def compact(model: Any) -> None:
    """Shrink an onnx.ModelProto in place; what it computes stays the same.

    Inputs and outputs of the graph keep their names. Constants with equal bytes, type and shape become one.
    """
    graph = model.graph
    public = {"", *(value.name for value in (*graph.input, *graph.output))}
    numbers = count()
    short: dict[str, str] = {}

    def rename(name: str) -> str:
        if name in public:
            return name
        if name not in short:
            short[name] = f"t{next(numbers)}"
        return short[name]

    same = _share(graph)
    for node in graph.node:
        node.name = node.doc_string = ""
        inputs, outputs = [rename(same.get(name, name)) for name in node.input], [rename(name) for name in node.output]
        node.ClearField("input")
        node.ClearField("output")
        node.input.extend(inputs)
        node.output.extend(outputs)
    for constant in graph.initializer:
        constant.name, constant.doc_string = rename(constant.name), ""
    graph.ClearField("value_info")
    model.ClearField("metadata_props")


def derive_bias_scales(model: Any) -> None:
    """A quantized bias's scale is its input's times its weights'; where that is exact, a Mul stands for the numbers.

    The runtime computes it once, when it loads the file. A number for every channel of every layer is saved.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    sources = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    made = []
    for node in graph.node:
        scales = [sources[name].input[1] if name in sources else "" for name in node.input]
        if node.op_type not in ("Conv", "Gemm") or len(scales) != 3 or not all(name in constants for name in scales):
            continue
        if np.array_equal(constants[scales[0]] * constants[scales[1]], constants[scales[2]]):
            made.append(helper.make_node("Mul", scales[:2], [scales[2]]))
    derived = {node.output[0] for node in made}
    _replace(graph.initializer, [constant for constant in graph.initializer if constant.name not in derived])
    _replace(graph.node, [*made, *graph.node])


def halve(graph: Any) -> None:
    """Each float32 constant of at least SMALLEST numbers as float16 behind a Cast, in place, where that is exact."""
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
    _replace(graph.node, [*casts, *graph.node])


def fold_pointwise(graph: Any) -> None:
    """Two pointwise convolutions with nothing between become one, in place, where its multiply-adds are no more.

    w = w2 w1 and b = w2 b1 + b2, in float64. Left alone is what something else reads too.
    """
    from onnx import numpy_helper

    constants = {constant.name: constant for constant in graph.initializer}
    names = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
    makers = {node.output[0]: node for node in graph.node if _is_pointwise(node, constants)}
    for second in [*makers.values()]:
        first = makers.get(second.input[0])
        if first is None or any(names.count(n) > 1 for n in (first.output[0], *first.input[1:], *second.input[1:])):
            continue
        pairs = [[numpy_helper.to_array(constants[name]) for name in node.input[1:]] for node in (first, second)]
        (w1, b1), (w2, b2) = [(w[:, :, 0, 0].astype(np.float64), b) for w, b in pairs]
        if w2.shape[0] * w1.shape[1] > w1.size + w2.size:
            continue
        for name, values in zip(second.input[1:], ((w2 @ w1)[:, :, None, None], w2 @ b1 + b2), strict=True):
            constants[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
        second.input[0] = first.input[0]
        graph.node.remove(first)
        for name in first.input[1:]:
            graph.initializer.remove(constants[name])


def _is_pointwise(node: Any, constants: dict[str, Any]) -> bool:
    """A 1x1 convolution over all channels, stride 1, no padding, whose weight and bias are constants."""
    given = {attribute.name: attribute for attribute in node.attribute}
    plain = all(set(given[name].ints) <= {value} for name, value in (("strides", 1), ("pads", 0)) if name in given)
    alone = "group" not in given or given["group"].i == 1
    known = len(node.input) == 3 and all(name in constants for name in node.input[1:])
    return bool(node.op_type == "Conv" and plain and alone and known and set(constants[node.input[1]].dims[2:]) == {1})


def _replace(field: Any, messages: Sequence[Any]) -> None:
    """Put these in the place of a repeated field's messages, which may be among them."""
    copies = [type(message).FromString(message.SerializeToString()) for message in messages]
    del field[:]
    field.extend(copies)


def _share(graph: Any) -> dict[str, str]:
    """Drop constants that repeat an earlier one; returns dropped name -> first name."""
    from onnx import numpy_helper

    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    same: dict[str, str] = {}
    unique = []
    for constant in graph.initializer:
        key = constant.data_type, tuple(constant.dims), numpy_helper.to_array(constant).tobytes()
        if key in first:
            same[constant.name] = first[key]
        else:
            first[key] = constant.name
            unique.append(constant)
    if same:
        _replace(graph.initializer, unique)
    return same
