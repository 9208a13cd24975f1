"""The exported file against torch: logits, class maps, free sizes, and what folding must not touch."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from kdlight.bundle import Bundle
from kdlight.compress import export_half, export_onnx
from kdlight.compress.graph import fold_pointwise
from kdlight.models import create_model


def run(path: Path, x: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, {"input": x})
    return found


@pytest.mark.parametrize("export", [export_onnx, export_half])
@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 96, 160)])
def test_the_second_output_is_the_class_map(
    tiny_bundle: Bundle, tmp_path: Path, export: object, shape: tuple[int, int, int]
) -> None:
    """Weights times features, by hand, at sizes and batches other than the traced one."""
    model = tiny_bundle.model("student")
    export(model, tmp_path / "net.onnx", 64)  # type: ignore[operator]
    x = torch.randn(shape[0], 3, *shape[1:], generator=torch.Generator().manual_seed(0))
    logits, maps = run(tmp_path / "net.onnx", x.numpy())
    with torch.no_grad():
        expected, features = model.forward_with_features(x)
    weight = model.classifier.weight.detach().numpy()
    by_hand = np.einsum("kc,bchw->bkhw", weight, features[-1].numpy())
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-4)
    np.testing.assert_allclose(maps, by_hand, atol=1e-3 * np.abs(by_hand).max())
    assert maps.shape[2:] == (shape[1] // 32, shape[2] // 32)


def test_a_network_without_class_maps_has_logits_only(tmp_path: Path) -> None:
    model = create_model("timm:mobilenetv4_conv_small_035", 3).eval()
    export_onnx(model, tmp_path / "net.onnx", 64)
    x = torch.randn(1, 3, 64, 64)
    (logits,) = run(tmp_path / "net.onnx", x.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(logits, model(x).numpy(), atol=1e-4)


@pytest.mark.parametrize("size", [96, 100])  # 100 px are padded to seven patches of 16
@pytest.mark.parametrize("name", ["timm:vit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224", "visformer_s"])
def test_a_network_made_for_another_size_leaves_as_it_answers(name: str, size: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model(name, 3).eval()
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    export_onnx(model, tmp_path / "net.onnx", size)
    x = torch.randn(2, 3, size, size)
    logits = run(tmp_path / "net.onnx", x.numpy())[0]
    with torch.no_grad():
        np.testing.assert_allclose(logits, model(x).numpy(), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())


def net(widths: list[int], taps: tuple[int, ...] = (), **second: list[int]) -> onnx.ModelProto:
    """Pointwise convolutions in a row from widths[0] to widths[-1] channels; `taps` are outputs besides the last."""
    rng = np.random.default_rng(0)
    nodes, constants = [], []
    for i, (inside, outside) in enumerate(pairwise(widths)):
        extra = second if i == 1 else {}
        nodes.append(helper.make_node("Conv", [f"x{i}", f"w{i}", f"b{i}"], [f"x{i + 1}"], **extra))
        for name, shape in ((f"w{i}", (outside, inside, 1, 1)), (f"b{i}", (outside,))):
            constants.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    outputs = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, [None] * 4) for i in (*taps, len(widths) - 1)]
    inputs = [helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["b", widths[0], 6, 6])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answer(model: onnx.ModelProto) -> list[np.ndarray]:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(2, 8, 6, 6)).astype(np.float32)
    found: list[np.ndarray] = session.run(None, {"x0": x})
    return found


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        (net([8, 4, 8]), 1),  # 64 multiply-adds a pixel either way
        (net([8, 6, 5, 4]), 1),
        (net([8, 2, 16]), 2),  # 48 would become 128
        (net([8, 6, 4], taps=(1,)), 2),  # the first is an answer itself
        (net([8, 6, 4], strides=[2, 2]), 2),
        (net([8, 6, 4], pads=[1, 1, 1, 1]), 2),
    ],
)
def test_pointwise_convolutions_in_a_row_become_one_where_that_is_no_more_work(
    model: onnx.ModelProto, layers: int
) -> None:
    before = answer(model)
    fold_pointwise(model.graph)
    assert len(model.graph.node) == layers
    assert len(model.graph.initializer) == 2 * layers
    for own, expected in zip(answer(model), before, strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-4)


def test_the_shipped_student_is_folded_once(tiny_bundle: Bundle) -> None:
    """Its first block narrows to 8 channels and widens again with nothing between; every other pair has an activation,
    a depthwise layer or a sum there, or would cost more."""
    convolutions = [module for module in tiny_bundle.model("student").modules() if isinstance(module, torch.nn.Conv2d)]
    nodes = [node for node in onnx.load(tiny_bundle.onnx).graph.node if node.op_type == "Conv"]
    assert len(nodes) == len(convolutions) - 1 + 1  # one folded away, one more for the class maps
