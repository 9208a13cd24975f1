"""The student in int8: weights per output channel, activations by ranges seen on real images (static quantization).

The scheme is that of Jacob et al., CVPR 2018 (https://arxiv.org/abs/1712.05877), by ONNX Runtime's quantizer, in its
QDQ form, after the weights are rounded and the biases corrected (`correct`). The few activations that would move the
answers most stay float32 (`sites`). Which way of choosing the ranges suits a network is found by measurement
(`select`), on images that neither set the ranges nor are tested on; the ways tried are ours. With 16-bit activations
the weights are int8 all the same: ONNX Runtime then computes in float32, so the file is small but slower.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdlight.compress.correct import correct
from kdlight.compress.graph import compact, derive_bias_scales
from kdlight.compress.sites import gentle, logits, moved


class CompressError(ValueError):
    """The student cannot be made smaller so; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How the ranges of the activations are chosen."""

    method: str
    """MinMax, Percentile or Entropy, as ONNX Runtime calls them; where tried, Entropy answered as MinMax does."""
    percentile: float = 99.99
    """Share of the values that the range holds, in percent; for Percentile only."""
    ends: bool = True
    """Whether the first convolution and the classifier are quantized too; else they stay float32."""


CALIBRATIONS: Mapping[str, Calibration] = {
    "minmax": Calibration("MinMax"),
    "percentile": Calibration("Percentile"),
    "minmax, float ends": Calibration("MinMax", ends=False),
}
BITS = (8, 16)
LIMIT = 260_000
"""Bytes that a way may take if another one takes less: what kdlight_nano is to stay below."""
TRIED = 8
"""First batches, that every single activation's rounding is tried on; where there are more, the weights are rounded on
the others, so that what their rounding changes is not seen too small."""


def quantize(
    source: Path,
    path: Path,
    batches: Sequence[np.ndarray],
    calibration: Calibration,
    activations: int = 8,
    allowed: float | None = None,
) -> None:
    """Write the int8 form of a float ONNX file. batches: prepared inputs float32 (B, 3, S, S) that set the ranges.

    activations: bits of the activations, 8 or 16. allowed: how far rounding 8-bit activations may move the logits, in
    mean square; those that would move them further stay float32 (`sites`). Raises CompressError without images, or for
    other bits.
    """
    if activations not in BITS:
        raise CompressError(f"Activations of {activations} bits were asked for; 8 or 16 was expected.")
    if not batches:
        raise CompressError("int8 needs images to set its ranges; none were given. Give a labelled set as data.")
    import onnx

    with tempfile.TemporaryDirectory() as folder, _quiet():
        shaped, written = Path(folder) / "shaped.onnx", Path(folder) / "int8.onnx"
        _shape(source, shaped)
        _quantize(shaped, written, batches, calibration, activations)
        model = onnx.load(written)
        if activations == 8 and allowed is not None:
            model = gentle(model, batches[:TRIED], allowed)
    derive_bias_scales(model)
    compact(model)
    path.write_bytes(model.SerializeToString())


def select(
    source: Path,
    path: Path,
    batches: Sequence[np.ndarray],
    change: Callable[[Path], float],
    activations: int = 8,
    calibrations: Mapping[str, Calibration] | None = None,
) -> tuple[dict[str, float], str]:
    """Round the weights, quantize in every way of CALIBRATIONS, keep at `path` what `change` finds least changed.

    8-bit activations may move the logits no more than the weights' rounding did; those that would stay float32. A file
    above LIMIT is kept only where all are. Returns the change of each way, and the way that is kept.

    change: a written file to a number, lower is better, measured on images other than those of `batches`.
    """
    import onnx

    found: dict[str, float] = {}
    best: tuple[bool, float, str] | None = None
    with tempfile.TemporaryDirectory() as folder:
        corrected = Path(folder) / "corrected.onnx"
        correct(source, corrected, batches[TRIED:] or batches)
        allowed = moved(*(logits(onnx.load(file), batches[:TRIED]) for file in (source, corrected)))
        for number, (name, calibration) in enumerate((calibrations or CALIBRATIONS).items()):
            tried = Path(folder) / f"{number}.onnx"
            quantize(corrected, tried, batches, calibration, activations, allowed)
            found[name], size = change(tried), tried.stat().st_size
            if best is None or (size > LIMIT, found[name]) < best[:2]:
                best = size > LIMIT, found[name], name
                path.write_bytes(tried.read_bytes())
    return found, best[2] if best else ""


def _shape(source: Path, path: Path) -> None:
    """Shapes of all tensors written into the file, as the quantizer expects; nothing is optimized or folded anew."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(str(source), str(path), skip_symbolic_shape=True)


def _quantize(
    source: Path, path: Path, batches: Sequence[np.ndarray], calibration: Calibration, activations: int
) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    even = [batch for batch in batches if len(batch) == len(batches[0])]  # the quantizer wants all of one size
    options: dict[str, Any] = {"QDQKeepRemovableActivations": True}
    options |= {"CalibPercentile": calibration.percentile} if calibration.method == "Percentile" else {}
    quantize_static(
        str(source),
        str(path),
        _reader(even),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8 if activations == 8 else QuantType.QUInt16,
        calibrate_method=getattr(CalibrationMethod, calibration.method),
        nodes_to_exclude=[] if calibration.ends else _ends(source),
        extra_options=options,
    )


def _reader(batches: Sequence[np.ndarray]) -> Any:
    """The images as the quantizer asks for them: one after the other, then None."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            found = next(self.left, None)
            return None if found is None else {"input": found}

    return Reader()


def _ends(path: Path) -> list[str]:
    """Names of the first and the last layer with weights."""
    import onnx

    layers = [node.name for node in onnx.load(path).graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    return [layers[0], layers[-1]]


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
