"""ofa595 is the network of the table: counted from the table itself, block by block."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from kdlight.compress import export_onnx
from kdlight.models import create_model, macs, parameters
from kdlight.models.ofa import InvertedResidual
from kdlight.models.weight_selection import reestimate_batch_norm

TABLE = (
    # kernel, inside, in, out, stride, squeeze
    (3, 24, 24, 24, 1, 0),
    (3, 72, 24, 32, 2, 0),
    (5, 128, 32, 32, 1, 0),
    (3, 96, 32, 32, 1, 0),
    (5, 128, 32, 48, 2, 32),
    (5, 192, 48, 48, 1, 48),
    (3, 288, 48, 48, 1, 72),
    (5, 144, 48, 48, 1, 40),
    (7, 288, 48, 96, 2, 0),
    (5, 576, 96, 96, 1, 0),
    (3, 288, 96, 96, 1, 0),
    (5, 384, 96, 96, 1, 0),
    (3, 576, 96, 136, 1, 144),
    (5, 816, 136, 136, 1, 208),
    (7, 816, 136, 136, 1, 208),
    (3, 544, 136, 136, 1, 136),
    (3, 816, 136, 192, 2, 208),
    (3, 1152, 192, 192, 1, 288),
    (5, 1152, 192, 192, 1, 288),
    (3, 576, 192, 192, 1, 144),
)
"""The published sub-network, as it stands in its own configuration."""


def counted(classes: int, size: int) -> tuple[int, int]:
    """Parameters and multiply-adds by the table; squeeze layers are 1x1 convolutions of one position."""
    side = -(-size // 2)
    weights, products = 27 * 24 + 2 * 24, 27 * 24 * side**2
    for number, (kernel, inside, into, out, stride, squeeze) in enumerate(TABLE):
        if number:
            weights += into * inside + 2 * inside
            products += into * inside * side**2
        side = -(-side // stride)
        weights += kernel**2 * inside + 2 * inside + inside * out + 2 * out
        products += (kernel**2 * inside + inside * out) * side**2
        if squeeze:
            weights += 2 * inside * squeeze + inside + squeeze
            products += 2 * inside * squeeze
    weights += 192 * 1152 + 2 * 1152 + 1152 * 1536 + 1536 * classes + classes
    products += 192 * 1152 * side**2 + 1152 * 1536 + 1536 * classes
    return weights, products


@pytest.mark.parametrize(("classes", "published"), [(3, 7_603_539), (1000, 9_135_928)])
def test_it_has_the_published_number_of_parameters(classes: int, published: int) -> None:
    with torch.device("meta"):
        model = create_model("ofa595", classes)
    assert parameters(model) == published == counted(classes, 224)[0]


@pytest.mark.parametrize(("size", "published"), [(224, 512.86e6), (236, 595.19e6)])
def test_it_has_the_published_number_of_multiply_adds(size: int, published: float) -> None:
    with torch.device("meta"):
        found = macs(create_model("ofa595", 1000), size)
    assert found == counted(1000, size)[1]
    assert found == pytest.approx(published, abs=0.005e6)


@pytest.mark.parametrize(("stride", "out", "skips"), [(1, 8, True), (2, 8, False), (1, 16, False)])
def test_a_block_adds_its_input_where_the_shapes_allow(stride: int, out: int, skips: bool) -> None:
    torch.manual_seed(0)
    block = InvertedResidual(8, 5, 24, out, True, "RE", stride).eval()
    x = torch.randn(2, 8, 7, 7)
    last = block.layers[-1][1]  # the batch norm of the projection
    with torch.no_grad():
        assert block(x).min() < 0  # no activation comes last
        last.weight.zero_()
        still = block(x)
    assert still.shape == (2, out, 4, 4) if stride == 2 else (2, out, 7, 7)
    torch.testing.assert_close(still, x if skips else torch.zeros_like(still))


def test_it_gives_the_same_answers_on_the_onnx_engine(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("ofa595", 3).eval()
    reestimate_batch_norm(model, [torch.randn(8, 3, 96, 96)])
    with torch.no_grad():
        model.classifier.weight.mul_(30)  # answers of a size that a tolerance can be held against
    export_onnx(model, tmp_path / "ofa595.onnx", 96)
    session = onnxruntime.InferenceSession(tmp_path / "ofa595.onnx", providers=["CPUExecutionProvider"])
    for side in (96, 64):
        x = torch.randn(2, 3, side, side)
        expected = model(x).detach().numpy()
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], expected, atol=1e-4, rtol=1e-4)


def test_weights_from_timm_are_not_promised() -> None:
    with pytest.raises(ValueError, match="no pretrained weights in timm"):
        create_model("ofa595", 3, pretrained=True)
