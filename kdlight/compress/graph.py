"""Less around the same numbers: an ONNX file with short names, each constant once, and no notes."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np


def compact(model: Any) -> None:
    """Shrink an onnx.ModelProto in place; what it computes stays the same.

    Inputs and outputs of the graph keep their names. Constants with equal bytes, type and shape become one.
    """
    graph = model.graph
    kept = {"", *(value.name for value in (*graph.input, *graph.output))}
    numbers = count()
    short: dict[str, str] = {}

    def rename(name: str) -> str:
        if name in kept:
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
    kept = [_copy(constant) for constant in graph.initializer if constant.name not in derived]
    nodes = [*made, *(_copy(node) for node in graph.node)]
    graph.ClearField("initializer")
    graph.ClearField("node")
    graph.initializer.extend(kept)
    graph.node.extend(nodes)


def _copy(message: Any) -> Any:
    return type(message).FromString(message.SerializeToString())


def _share(graph: Any) -> dict[str, str]:
    """Drop constants that repeat an earlier one; returns dropped name -> kept name."""
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
        unique = [_copy(constant) for constant in unique]
        graph.ClearField("initializer")
        graph.initializer.extend(unique)
    return same
