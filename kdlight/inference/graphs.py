"""What a student's ONNX file may hold, looked at before anything runs it.

A file from anybody is run only if it is one plain graph: standard operators, nothing that branches or repeats, no data
from other files, and for one image no value larger than MOST_VALUES numbers. Sizes that a graph computes while it runs,
as some transformers do, cannot be known before: the memory and time of the process that runs it end those.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from kdlight.bundle import Bundle, BundleError, guarded

MOST_NODES = 50_000
MOST_VALUES = 2**26
"""Numbers in one value, such as a layer's output: 256 MB in float32."""
MOST_TOTAL = 2**29
"""Numbers in all values of one pass together."""
DOMAINS = ("", "ai.onnx")


def check(bundle: Bundle, file: Path) -> None:
    """Raises BundleError if an ONNX file of a bundle is no such graph, or not of the card's input and classes."""
    import onnx

    with guarded(bundle.path, "models"):
        model = onnx.load(file, load_external_data=False)
        for fault in _faults(model, bundle):
            raise BundleError.of(bundle.path, f"{file.name} {fault}", "models")


def tapped(path: Path) -> bytes:
    """A student's graph that puts out, after what it did before, the mean over places of each stage's features.

    A stage ends where the next layer halves the map: what a convolution or pooling of stride 2 takes in. The last one
    ends before the layer that the logits come from. A network without such maps ends in its last linear layer, whose
    input is then all that there is.
    """
    import onnx
    from onnx import helper

    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    inputs, outputs = {value.name for value in graph.input}, {value.name for value in graph.output}
    ends = [node.input[0] for node in graph.node if _halves(node) and node.input[0] not in inputs]
    last = [n.input[0] for n in graph.node if n.output[0] in outputs and n.op_type in ("Conv", "Gemm", "MatMul")][:1]
    flat = {node.input[0] for node in graph.node if node.op_type in ("Gemm", "MatMul")}
    for number, name in enumerate(dict.fromkeys([*ends, *last])):
        operator = "Identity" if name in flat else "GlobalAveragePool"
        graph.node.append(helper.make_node(operator, [name], [f"stage_{number}"]))
        graph.output.append(helper.make_tensor_value_info(f"stage_{number}", onnx.TensorProto.FLOAT, None))
    return bytes(model.SerializeToString())


def _halves(node: Any) -> bool:
    strides = [list(a.ints) for a in node.attribute if a.name == "strides"]
    return node.op_type in ("Conv", "MaxPool", "AveragePool") and strides == [[2, 2]]


def _faults(model: Any, bundle: Bundle) -> Iterator[str]:
    """What is wrong with a graph, as clauses, the cheap looks first: shapes are inferred for what passed them."""
    from onnx import AttributeProto, TensorProto

    graph = model.graph
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    tensors = [*graph.initializer, *(attribute.t for attribute in attributes if attribute.HasField("t"))]
    lists = {AttributeProto.FLOATS, AttributeProto.INTS, AttributeProto.STRINGS}
    plain = {AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.STRING, AttributeProto.TENSOR, *lists}
    if model.functions or any(node.domain not in DOMAINS for node in graph.node):
        yield "has operators of its own; only standard ones are run"
    if any(attribute.type not in plain for attribute in attributes):
        yield "branches or repeats (If, Loop, Scan); a plain network was expected"
    if any(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data for tensor in tensors):
        yield "takes numbers from another file"
    if graph.sparse_initializer or len(graph.node) > MOST_NODES:
        yield f"has more than {MOST_NODES} operators, or sparse weights"
    if sum(prod(tensor.dims) for tensor in tensors) > MOST_VALUES * 4:
        yield "has more weights than any student"
    if any(not _finite(tensor) for tensor in tensors):
        yield "has weights that are no finite numbers"
    yield from _shapes(model, bundle)


def _shapes(model: Any, bundle: Bundle) -> Iterator[str]:
    """Of one image of the card's size: what is known of every value's size beforehand is bounded."""
    from onnx import shape_inference

    graph, side = model.graph, bundle.spec.size
    constant = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constant]
    if len(inputs) != 1 or len(_dims(inputs[0])) != 4:
        yield "has not one input of images"
        return
    for dim, size in zip(inputs[0].type.tensor_type.shape.dim, (1, bundle.spec.channels, side, side), strict=True):
        if dim.HasField("dim_value") and dim.dim_value != size:
            yield f"takes images of another size than {side} px"
        dim.dim_value = size
    for value in graph.output:  # their names for sizes, such as "rows", are known only now
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    del graph.value_info[:]
    inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    sizes = {value.name: _dims(value) for value in (*inferred.value_info, *inferred.output)}
    known = [prod(dims) for dims in sizes.values()]
    if max(known, default=0) > MOST_VALUES or sum(known) > MOST_TOTAL:
        yield "needs more memory than any student"
    elif sizes[graph.output[0].name] not in ([1, len(bundle.classes)], [0, len(bundle.classes)]):
        yield f"does not answer one number for each of the {len(bundle.classes)} classes"


def _dims(value: Any) -> list[int]:
    """Sizes of a tensor; 0 where one is not known."""
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _finite(tensor: Any) -> bool:
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor)
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
