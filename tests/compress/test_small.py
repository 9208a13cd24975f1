"""Smaller files: what they compute, what they weigh, and whether changes are counted right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from kdlight.bundle import Bundle
from kdlight.compress import CompressError, compare, export_half, quantize
from kdlight.compress.graph import compact
from kdlight.inference import golden


def run(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": x})[0])


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution of 4 channels, ReLU6, mean, classifier of 3, with random weights."""
    rng = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.5, shape).astype(np.float32), name)

    bounds = [numpy_helper.from_array(np.float32(value), name) for name, value in (("zero", 0), ("six", 6))]
    nodes = [
        helper.make_node("Conv", ["input", "w", "b"], ["c"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c", "zero", "six"], ["r"], name="clip"),
        helper.make_node("ReduceMean", ["r"], ["m"], name="mean", axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["m", "v", "a"], ["logits"], name="last", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [constant("w", 4, 3, 3, 3), constant("b", 4), constant("v", 3, 4), constant("a", 3), *bounds],
    )
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_flips_are_counted_as_by_hand(net: Path, inputs: list[np.ndarray], tmp_path: Path) -> None:
    """Against a loop over single images, on a real int8 file."""
    quantize(net, tmp_path / "int8.onnx", inputs[:3])
    x = np.concatenate(inputs)
    labels = np.arange(len(x)) % 3

    def softmax(z: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))

    source, small = softmax(run(net, x)), softmax(run(tmp_path / "int8.onnx", x))
    assert not np.array_equal(source, small)
    source[5], small[5] = (0.6, 0.3, 0.1), (0.3, 0.6, 0.1)
    found = compare(source, small, labels)
    by_hand = [
        i for i in range(len(x)) if max(range(3), key=source[i].__getitem__) != max(range(3), key=small[i].__getitem__)
    ]
    assert 5 in by_hand
    assert list(found.flips.images) == by_hand
    assert (found.n, found.flips.count) == (24, len(by_hand))
    assert found.flips.share.value == pytest.approx(len(by_hand) / 24)
    assert found.probability_change == pytest.approx(
        max(abs(a - b) for a, b in zip(source.flat, small.flat, strict=True))
    )
    recalls = [np.mean([source[i].argmax() == c for i in range(c, 24, 3)]) for c in range(3)]
    score = found.balanced_accuracy["source"]
    assert score is not None
    assert score.value == pytest.approx(np.mean(recalls))


def test_int8_follows_the_affine_scheme(net: Path, inputs: list[np.ndarray], tmp_path: Path) -> None:
    """Each weight is its int8 value times its channel's scale, largest weight / 127, to half a step."""
    quantize(net, tmp_path / "int8.onnx", inputs[:3])
    weights = {c.name: numpy_helper.to_array(c) for c in onnx.load(net).graph.initializer}["w"]
    model = onnx.load(tmp_path / "int8.onnx")
    constants = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}
    stored = [n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants]
    node = next(n for n in stored if constants[n.input[0]].shape == weights.shape)
    values, scales = constants[node.input[0]], constants[node.input[1]]
    assert values.dtype == np.int8
    assert scales == pytest.approx(np.abs(weights).max(axis=(1, 2, 3)) / 127, rel=1e-3)
    steps = np.abs(values * scales[:, None, None, None] - weights) / scales[:, None, None, None]
    assert steps.max() <= 0.51
    x = np.concatenate(inputs)
    assert np.corrcoef(run(net, x).ravel(), run(tmp_path / "int8.onnx", x).ravel())[0, 1] > 0.99


def test_a_last_batch_that_is_smaller_is_no_error(net: Path, inputs: list[np.ndarray], tmp_path: Path) -> None:
    uneven = [*inputs, inputs[0][:1]]
    for batches, name in ((inputs, "even.onnx"), (uneven, "uneven.onnx")):
        quantize(net, tmp_path / name, batches)
    assert (tmp_path / "even.onnx").read_bytes() == (tmp_path / "uneven.onnx").read_bytes()


def test_sixteen_bits_of_activation_change_less(net: Path, inputs: list[np.ndarray], tmp_path: Path) -> None:
    x = np.concatenate(inputs)
    errors = []
    for bits in (8, 16):
        quantize(net, tmp_path / f"{bits}.onnx", inputs[:3], bits)
        errors.append(float(np.abs(run(net, x) - run(tmp_path / f"{bits}.onnx", x)).mean()))
    assert errors[1] < errors[0]


@pytest.mark.parametrize(("batches", "bits"), [([], 8), ([np.zeros((1, 3, 8, 8), np.float32)], 4)])
def test_what_cannot_be_quantized_is_said(net: Path, tmp_path: Path, batches: list[np.ndarray], bits: int) -> None:
    with pytest.raises(CompressError, match=r"asked for|none were given"):
        quantize(net, tmp_path / "int8.onnx", batches, bits)


def test_short_names_and_shared_constants_change_nothing(net: Path, inputs: list[np.ndarray], tmp_path: Path) -> None:
    model = onnx.load(net)
    twice = numpy_helper.from_array(np.float32(0), "another zero with a long name")
    model.graph.initializer.append(twice)
    model.graph.node[1].input[1] = twice.name
    compact(model)
    onnx.save(model, tmp_path / "short.onnx")
    assert sum(numpy_helper.to_array(c).size == 1 for c in model.graph.initializer) == 2
    assert [i.name for i in model.graph.input] + [o.name for o in model.graph.output] == ["input", "logits"]
    np.testing.assert_array_equal(run(net, inputs[0]), run(tmp_path / "short.onnx", inputs[0]))
    assert max(len(name) for node in model.graph.node for name in node.input) <= len("input")


def test_half_weights_are_half_as_large_and_exact(tiny_bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    export_half(tiny_bundle.model("student"), path, tiny_bundle.spec.size)
    pictures = np.stack([golden.draw(i, 64, color=False) for i in range(4)])
    x = tiny_bundle.spec.normalise(torch.from_numpy(pictures))
    with torch.inference_mode():
        expected = tiny_bundle.model("student")(x).numpy()
    np.testing.assert_allclose(run(path, x.numpy()), expected, rtol=1e-4, atol=1e-4)
    assert path.stat().st_size < 0.58 * tiny_bundle.onnx.stat().st_size
