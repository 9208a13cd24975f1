"""The student in int8: weights per output channel, activations by ranges seen on real images (static quantization).

The scheme is that of Jacob et al., CVPR 2018 (https://arxiv.org/abs/1712.05877), by ONNX Runtime's quantizer, in its
QDQ form. The first layers stay float: they hold few of the weights, and rounding them moves the answers most (ours).
With 16-bit activations ONNX Runtime computes in float32, so that file is as small but slower.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdlight import storage
from kdlight.compress.graph import compact, derive_bias_scales, halve

BITS = (8, 16)
ROOM = 8
"""Times the source's bytes that quantizing needs for its own files at most; ours."""
FLOAT_SHARE = 0.05
"""Share of all weights, at most, in the first layers that stay float: less flips decisions (docs/benchmarks/int8)."""


class CompressError(ValueError):
    """The student cannot be made smaller so; the message says why and what to do."""


def quantize(source: Path, path: Path, batches: Sequence[np.ndarray], activations: int = 8) -> None:
    """Write the int8 form of a float ONNX file. batches: prepared inputs float32 (B, 3, S, S) that set the ranges.

    activations: their bits, 8 or 16. What stays float is stored in float16. Raises CompressError without images, or for
    other bits.
    """
    if activations not in BITS:
        raise CompressError(f"Activations of {activations} bits were asked for; 8 or 16 was expected.")
    if not batches:
        raise CompressError("int8 needs images to set its ranges; none were given. Give a labeled set as data.")
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _quiet():
        storage.reserve(Path(folder) / "room", ROOM * source.stat().st_size)  # ONNX Runtime would write half in silence
        shaped, written = Path(folder) / "shaped.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(str(source), str(shaped), skip_symbolic_shape=True)
        first = _keep_float(shaped)
        quantize_static(
            str(shaped),
            str(written),
            _reader([batch for batch in batches if len(batch) == len(batches[0])]),  # it wants all of one size
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8 if activations == 8 else QuantType.QUInt16,
            nodes_to_exclude=first,
        )
        model = onnx.load(written)
    derive_bias_scales(model)
    halve(model.graph)
    compact(model)
    path.write_bytes(model.SerializeToString())


def _keep_float(path: Path) -> list[str]:
    """The names of the first nodes, whose layers hold at most FLOAT_SHARE of all weights, rounded to float16 in place.

    All nodes up to there: an activation quantized apart from its layer would widen the range of the layer's output.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    constants = {constant.name: constant for constant in model.graph.initializer}
    sizes = [_weights(node, constants) for node in model.graph.node]
    first = int(np.searchsorted(np.cumsum(sizes), FLOAT_SHARE * sum(sizes), side="right"))
    for node, size in zip(model.graph.node[:first], sizes[:first], strict=True):
        for name in node.input[1:] if size else ():
            half = numpy_helper.to_array(constants[name]).astype(np.float16)
            if np.isfinite(half).all():
                constants[name].CopyFrom(numpy_helper.from_array(half.astype(np.float32), name))
    onnx.save(model, path)
    return [node.name for node in model.graph.node[:first]]


def _weights(node: Any, constants: dict[str, Any]) -> int:
    """How many a layer has; 0 for what is no layer, or whose weights are no constants."""
    is_layer = node.op_type in ("Conv", "Gemm", "MatMul") and all(name in constants for name in node.input[1:])
    return int(np.prod(constants[node.input[1]].dims)) if is_layer else 0


def _reader(batches: Sequence[np.ndarray]) -> Any:
    """The images as the quantizer asks for them: one batch after the other, then None."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.left, None)
            return None if batch is None else {"input": batch}

    return Reader()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer prints its progress and warns by the root logger; neither says anything to the caller."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
