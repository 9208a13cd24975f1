"""A student's ONNX file from anybody: what could take a machine is refused before it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, BundleError, load
from kdlight.compress import quantize
from kdlight.inference import Predictor, graphs
from kdlight.inference.engines import OnnxEngine

ROUNDS = 2**62


def graph(nodes: list[Any], *tensors: Any, side: Any = "height", domain: str = "") -> onnx.ModelProto:
    """`x`, an image, through nodes to `logits` (batch, 3)."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, side, side])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    made = helper.make_graph(nodes, "g", [x], [logits], list(tensors))
    imports = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(made, opset_imports=imports, ir_version=8)


def number(name: str, value: Any, dtype: Any = np.int64) -> Any:
    return numpy_helper.from_array(np.array(value, dtype), name)


def mean(of: str = "x") -> Any:
    return helper.make_node("ReduceMean", [of], ["logits"], axes=[2, 3], keepdims=0)


def looping() -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(n, t, []) for n, t in (("i", TensorProto.INT64), ("on", TensorProto.BOOL))]
    state = helper.make_tensor_value_info("s", TensorProto.FLOAT, ["a", 3, "b", "c"])
    body = [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Mul", ["s", "s"], ["t"])]
    after = [helper.make_tensor_value_info("still", TensorProto.BOOL, [])]
    after += [helper.make_tensor_value_info("t", TensorProto.FLOAT, ["a", 3, "b", "c"])]
    rounds = helper.make_graph(body, "body", [*values, state], after)
    loop = helper.make_node("Loop", ["rounds", "yes", "x"], ["y"], body=rounds)
    return graph([loop, mean("y")], number("rounds", ROUNDS), number("yes", True, bool))


def branching() -> onnx.ModelProto:
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    then = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "then", [], [out])
    node = helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=then)
    return graph([node, mean("y")], number("yes", True, bool))


def expanded(op: str) -> onnx.ModelProto:
    """4 GB from a file of some hundred bytes."""
    many = {"Tile": [1, 1, 500, 500], "Expand": [1, 3, 64, 2**22], "ConstantOfShape": [1, 3, 2**14, 2**14]}[op]
    inputs = ["many"] if op == "ConstantOfShape" else ["x", "many"]
    nodes = [] if op != "Expand" else [helper.make_node("ReduceMean", ["x"], ["m"], axes=[3])]
    inputs = ["m", "many"] if op == "Expand" else inputs
    join = helper.make_node("Add", ["y0", "z"], ["y"])
    small = helper.make_node("ReduceMean", ["x"], ["z"], axes=[2, 3])
    return graph([*nodes, helper.make_node(op, inputs, ["y0"]), small, join, mean("y")], number("many", many))


def expanding_as_it_runs() -> onnx.ModelProto:
    """16 GB whose size is computed from the image, so that no look beforehand can know it."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["peak"], keepdims=0),
        helper.make_node("Mul", ["peak", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "many"], ["sizes"]),
        helper.make_node("Cast", ["sizes"], ["shape"], to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["shape"], ["y0"]),
        helper.make_node("ReduceMean", ["y0"], ["m"], keepdims=0),
        helper.make_node("ReduceMean", ["x"], ["z"], axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["z", "m"], ["logits"]),
    ]
    many = number("many", [2**16, 2**16], np.float32)
    return graph(nodes, many, number("zero", [0.0, 0.0], np.float32))


def external() -> onnx.ModelProto:
    tensor = number("w", np.ones((1, 3, 1, 1)), np.float32)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return graph([helper.make_node("Add", ["x", "w"], ["y"]), mean("y")], tensor)


def own_function() -> onnx.ModelProto:
    model = graph([helper.make_node("F", ["x"], ["y"], domain="me"), mean("y")], domain="me")
    body = [helper.make_node("Identity", ["a"], ["b"])]
    model.functions.append(helper.make_function("me", "F", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    return model


def constant_of_nan() -> onnx.ModelProto:
    value = number("v", [np.nan], np.float32)
    return graph(
        [helper.make_node("Constant", [], ["w"], value=value), helper.make_node("Add", ["x", "w"], ["y"]), mean("y")]
    )


def widened() -> onnx.ModelProto:
    return graph([helper.make_node("Concat", ["x", "x"], ["y"], axis=1), mean("y")])


GRAPHS: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "a loop of 2^62 rounds": (looping, "branches or repeats"),
    "a branch": (branching, "branches or repeats"),
    "Tile to 4 GB": (lambda: expanded("Tile"), "more memory"),
    "Expand to 3 GB": (lambda: expanded("Expand"), "more memory"),
    "ConstantOfShape of 3 GB": (lambda: expanded("ConstantOfShape"), "more memory"),
    "numbers from another file": (external, "another file"),
    "a function": (own_function, "operators of its own"),
    "another domain": (
        lambda: graph([helper.make_node("FFT", ["x"], ["y"], domain="com.x"), mean("y")], domain="com.x"),
        "own",
    ),
    "NaN": (constant_of_nan, "no finite numbers"),
    "images of another size": (lambda: graph([mean()], side=32), "another size"),
    "twice as many answers": (widened, "one number for each"),
    "an operator that is none": (lambda: graph([helper.make_node("Nope", ["x"], ["y"]), mean("y")]), "one number"),
}


def with_graph(folder: Path, content: bytes) -> Bundle:
    (folder / "student.onnx").write_bytes(content)
    bundles.write_card(folder, bundles.read_card(folder))
    bundles.seal(folder)
    return load(folder)


@pytest.mark.parametrize("what", GRAPHS)
def test_it_is_refused_at_once(bundle_copy: Path, what: str) -> None:
    make, says = GRAPHS[what]
    bundle = with_graph(bundle_copy, make().SerializeToString())
    started = time.process_time()
    with pytest.raises(BundleError, match=says) as caught:
        graphs.check(bundle, bundle.onnx)
    assert caught.value.reason == "models"
    assert time.process_time() - started < 5
    with pytest.raises(BundleError, match=says):
        Predictor(bundle)


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x08" * 1000, bytes(4000)])
def test_what_is_no_graph_is_refused(bundle_copy: Path, content: bytes) -> None:
    with pytest.raises(BundleError) as caught:
        Predictor(with_graph(bundle_copy, content))
    assert caught.value.reason == "models"


def test_a_plain_graph_passes(bundle_copy: Path) -> None:
    fine = with_graph(bundle_copy, graph([mean()]).SerializeToString())
    graphs.check(fine, fine.onnx)


def test_an_int8_file_beside_the_student_is_looked_at_as_well(bundle_copy: Path, tmp_path: Path) -> None:
    bundle, small = load(bundle_copy), tmp_path / "student.int8.onnx"
    quantize(bundle.onnx, small, [np.zeros((2, 3, bundle.spec.size, bundle.spec.size), np.float32)])
    assert OnnxEngine.of(bundle, 1, small)(torch.zeros(1, 3, bundle.spec.size, bundle.spec.size)).shape[0] == 1
    onnx.save(looping(), small)
    with pytest.raises(BundleError, match=r"student\.int8\.onnx branches or repeats"):
        OnnxEngine.of(bundle, 1, small)


def test_a_network_that_does_not_fit_its_weights_is_never_built(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """232 million parameters are compared by their shapes, and take no memory."""
    card = tiny_bundle.card.replace(teacher=tiny_bundle.card.teacher.replace(architecture="fusion_skin"))
    monkeypatch.setattr("safetensors.torch.load_file", None)
    with pytest.raises(BundleError, match="do not fit fusion_skin"):
        Bundle(tiny_bundle.path, card, "").model("teacher")


@pytest.mark.parametrize("name", ["timm:hf-hub:somebody/net", "../net", "timm:a/b", "ensemble:", "a b"])
def test_a_network_is_named_not_fetched(bundle_copy: Path, name: str) -> None:
    from tests.bundle_faults import put, spoil

    spoil(bundle_copy, put(name, "teacher", "architecture"))
    with pytest.raises(BundleError) as caught:
        load(bundle_copy)
    assert caught.value.reason == "card"
