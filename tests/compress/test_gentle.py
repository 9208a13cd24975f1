"""Rounding that moves a layer's outputs least, and which activations stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from kdlight.compress import int8, quantize, select
from kdlight.compress.correct import correct
from kdlight.compress.int8 import CALIBRATIONS
from kdlight.compress.rounding import products, refit, round_weights
from kdlight.compress.sites import gentle, logits, moved, sites, without

RNG = np.random.default_rng(0)


def correlated(rows: int, columns: int) -> np.ndarray:
    """Inputs whose columns go together, as feature maps do."""
    return RNG.normal(size=(rows, 3)) @ RNG.normal(size=(3, columns)) + 0.1 * RNG.normal(size=(rows, columns))


def test_outputs_move_less_than_by_the_nearest_steps() -> None:
    weights, x = RNG.normal(size=(12, 40)).astype(np.float32), correlated(500, 40)
    scale = np.abs(weights).max(axis=1, keepdims=True) / 127
    nearest, found = round_weights(weights), round_weights(weights, (x.T @ x)[None])
    for rounded in (nearest, found):
        np.testing.assert_allclose(rounded / scale, np.rint(rounded / scale), atol=1e-3)
        np.testing.assert_allclose(np.abs(rounded).max(axis=1), np.abs(weights).max(axis=1), rtol=1e-6)
    errors = [float(np.square(x @ (rounded - weights).T).mean()) for rounded in (nearest, found)]
    assert errors[1] < 0.3 * errors[0]
    np.testing.assert_allclose(round_weights(found), found, rtol=1e-6)  # the quantizer finds the same steps


def test_inputs_that_do_not_go_together_give_the_nearest_steps() -> None:
    weights = RNG.normal(size=(6, 9)).astype(np.float32)
    np.testing.assert_array_equal(round_weights(weights, np.eye(9)[None]), round_weights(weights))


def test_weights_fit_the_outputs_on_the_true_inputs() -> None:
    """Least squares by NumPy, but for the damping; for inputs that did not change the weights stay."""
    weights, true = RNG.normal(size=(12, 20)), RNG.normal(size=(500, 20))
    changed = true @ (np.eye(20) + 0.05 * RNG.normal(size=(20, 20)))
    gram = (changed.T @ changed)[None]
    found = refit(weights, gram, (true.T @ changed)[None])
    np.testing.assert_allclose(found, np.linalg.lstsq(changed, true @ weights.T)[0].T, atol=0.02)
    errors = [float(np.square(changed @ w.T - true @ weights.T).mean()) for w in (weights, found)]
    assert errors[1] < 0.01 * errors[0]
    np.testing.assert_allclose(refit(weights, gram, gram), weights, atol=1e-12)


@pytest.mark.parametrize(("groups", "stride", "kernel"), [(1, 2, 3), (4, 1, 3), (2, 2, 3), (1, 1, 1)])
def test_the_products_are_those_of_the_convolution(groups: int, stride: int, kernel: int) -> None:
    """Sum of w G w over a group's inputs is the sum of the squared outputs."""
    x = RNG.normal(size=(3, 4, 7, 6)).astype(np.float32)
    weights = RNG.normal(size=(8, 4 // groups, kernel, kernel)).astype(np.float32)
    pads = [kernel // 2] * 4
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=groups, strides=[stride, stride], pads=pads)
    y = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(weights), None, stride, kernel // 2, 1, groups)
    gram = products(x, x, node, weights.shape)
    flat = weights.reshape(groups, 8 // groups, -1)
    np.testing.assert_allclose(
        np.einsum("grn,gnm,grm->gr", flat, gram, flat).ravel(), y.square().sum((0, 2, 3)), rtol=1e-4
    )


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two convolutions with ReLU6, a classifier without a bias, pooling; the first activation has one huge value."""

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(RNG.normal(0, 0.5, shape).astype(np.float32), name)

    bounds = [numpy_helper.from_array(np.float32(value), name) for name, value in (("zero", 0), ("six", 6))]
    nodes = [
        helper.make_node("Conv", ["input", "w", "b"], ["c"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c", "zero", "six"], ["r"], name="clip"),
        helper.make_node("Conv", ["r", "v", "a"], ["d"], name="second", pads=[1, 1, 1, 1], group=2),
        helper.make_node("Conv", ["d", "u"], ["maps"], name="last"),
        helper.make_node("GlobalAveragePool", ["maps"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["logits"], name="flat"),
    ]
    shapes = [("w", 8, 3, 3, 3), ("b", 8), ("v", 8, 4, 3, 3), ("a", 8), ("u", 3, 8, 1, 1)]
    rows = [("logits", ["batch", 3]), ("maps", ["batch", 3, 8, 8])]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in rows],
        [*(constant(*given) for given in shapes), *bounds],
    )
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def rounded(net: Path, inputs: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rounded") / "rounded.onnx"
    correct(net, path, inputs)
    return path


@pytest.fixture(scope="module")
def model(rounded: Path, inputs: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """As the quantizer gives it."""
    folder = tmp_path_factory.mktemp("int8")
    with int8._quiet():
        int8._shape(rounded, folder / "shaped.onnx")
        int8._quantize(folder / "shaped.onnx", folder / "int8.onnx", inputs, CALIBRATIONS["minmax"], 8)
    return onnx.load(folder / "int8.onnx")


def test_without_its_sites_a_file_is_the_float_one(
    model: onnx.ModelProto, rounded: Path, inputs: list[np.ndarray]
) -> None:
    found = sites(model)
    free = without(model, found)
    assert len(found) >= 5
    assert sites(free) == set()
    assert [value.name for value in free.graph.output] == ["logits", "maps"]
    np.testing.assert_allclose(logits(free, inputs), logits(onnx.load(rounded), inputs), atol=2e-3)
    assert moved(logits(model, inputs), logits(free, inputs)) > 1e-6
    kept = {node.input[0] for node in free.graph.node if node.op_type == "DequantizeLinear"}
    assert len(kept) == 3  # the weights of the three layers, no bias


def test_the_gentlest_stay_up_to_the_limit(model: onnx.ModelProto, inputs: list[np.ndarray]) -> None:
    found, still = sites(model), logits(without(model, sites(model)), inputs)
    alone = {site: moved(logits(without(model, found - {site}), inputs), still) for site in found}
    limit = sum(sorted(alone.values())[:3])
    assert sites(gentle(model, inputs, limit * 1.0001)) == set(sorted(alone, key=alone.__getitem__)[:3])
    assert sites(gentle(model, inputs, -1.0)) == set()
    assert sites(gentle(model, inputs, 1e9)) == found


def test_the_file_that_is_kept_moves_little_more_than_its_weights(
    net: Path, rounded: Path, inputs: list[np.ndarray], tmp_path: Path
) -> None:
    ways = {name: CALIBRATIONS[name] for name in ("minmax", "percentile")}
    select(net, tmp_path / "kept.onnx", inputs, lambda path: moved_from(net, path, inputs), calibrations=ways)
    quantize(rounded, tmp_path / "all.onnx", inputs, CALIBRATIONS["minmax"])
    weights, kept, everything = (
        moved_from(net, path, inputs) for path in (rounded, tmp_path / "kept.onnx", tmp_path / "all.onnx")
    )
    assert kept < everything
    assert kept < 4 * weights


def moved_from(source: Path, path: Path, batches: list[np.ndarray]) -> float:
    return moved(*(logits(onnx.load(file), batches) for file in (source, path)))


def test_a_shift_of_all_classes_moves_nothing() -> None:
    z = RNG.normal(size=(5, 4))
    assert moved(z, z + RNG.normal(size=(5, 1))) == pytest.approx(0, abs=1e-20)
    assert moved(z, z + np.eye(4)[0]) == pytest.approx(np.square(np.eye(4)[0] - 0.25).mean())
