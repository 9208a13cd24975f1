"""Which activations stay float32: those whose rounding to 8 bits would move the answers most.

A quantized file rounds an activation by a QuantizeLinear and the DequantizeLinear behind it: a site. Each site alone is
tried on real images; sites stay, the gentlest first, as long as what they move together keeps below a limit. Without
its site an activation is float32, and the layer that takes it computes in float32 with its int8 weights. That the
mean squares of single sites add up is taken for granted; the choice is ours.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

ROUNDS, BACK = "QuantizeLinear", "DequantizeLinear"


def gentle(model: Any, batches: Sequence[np.ndarray], allowed: float) -> Any:
    """The quantized onnx.ModelProto with as many sites as move the logits by `allowed` at most, in mean square."""
    found = sites(model)
    none = without(model, found)
    still = logits(none, batches)
    moves = {site: moved(logits(without(model, found - {site}), batches), still) for site in found}
    total, kept = 0.0, set()
    for site in sorted(found, key=lambda site: (moves[site], site)):
        total += moves[site]
        if total > allowed:
            break
        kept.add(site)
    return without(model, found - kept)


def sites(model: Any) -> set[str]:
    """The outputs of the QuantizeLinear nodes."""
    return {node.output[0] for node in model.graph.node if node.op_type == ROUNDS}


def without(model: Any, dropped: Collection[str]) -> Any:
    """A copy in which these activations pass on as they are. A bias behind one of them becomes float32 too."""
    import onnx

    own = onnx.ModelProto()
    own.CopyFrom(model)
    given = {node.output[0]: node.input[0] for node in own.graph.node if node.op_type == ROUNDS}
    passed = {
        node.output[0]: given[node.input[0]]
        for node in own.graph.node
        if node.op_type == BACK and node.input[0] in given and node.input[0] in dropped
    }
    outputs = {value.name for value in own.graph.output}
    renamed = {inside: outside for outside, inside in passed.items() if outside in outputs}
    kept = [node for node in own.graph.node if node.output[0] not in passed and node.output[0] not in dropped]
    for node in kept:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                inside = passed.get(name, name)
                names[place] = renamed.get(inside, inside)
    _replace(own.graph, kept)
    _free_biases(own.graph)
    return own


def logits(model: Any, batches: Sequence[np.ndarray]) -> np.ndarray:
    """What the model answers to the batches, in one array (N, K)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = 1, 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["logits"], {"input": batch})[0] for batch in batches])


def moved(one: np.ndarray, other: np.ndarray) -> float:
    """Mean square difference of logits (N, K), without what all classes of an image share: that changes no answer."""
    off = one - other
    return float(np.square(off - off.mean(axis=1, keepdims=True)).mean())


def _free_biases(graph: Any) -> None:
    """Int32 biases of layers whose input is not rounded any more: as float32 they need no scales."""
    from onnx import numpy_helper

    constants = {constant.name: constant for constant in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    free = set()
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3 or node.input[2] not in makers:
            continue
        bias, x = makers[node.input[2]], makers.get(node.input[0])
        if bias.input[0] not in constants or (x is not None and x.op_type == BACK):
            continue
        whole, scale = (numpy_helper.to_array(constants[name]) for name in bias.input[:2])
        graph.initializer.append(numpy_helper.from_array((whole * scale).astype(np.float32), bias.output[0]))
        free.add(bias.output[0])
    _replace(graph, [node for node in graph.node if node.output[0] not in free])


def _replace(graph: Any, nodes: Sequence[Any]) -> None:
    """These nodes alone, and of the constants those that they use."""
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    used = {name for node in copies for name in node.input}
    constants = [type(c).FromString(c.SerializeToString()) for c in graph.initializer if c.name in used]
    graph.ClearField("node")
    graph.ClearField("initializer")
    graph.node.extend(copies)
    graph.initializer.extend(constants)
