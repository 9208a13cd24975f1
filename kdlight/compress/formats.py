"""The student in a format for other programs, asked the golden inputs again before it is handed out."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from kdlight.bundle import Bundle
from kdlight.compress.int8 import CompressError
from kdlight.metrics import softmax
from kdlight.metrics.report import Measured

Run = Callable[[np.ndarray], np.ndarray]
"""Prepared input float32 (B, 3, S, S) to logits (B, K)."""
TOLERANCE = 1e-4
"""Largest difference of a calibrated probability to the torch student."""
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
"""OpenVINO computes in bfloat16 by itself where the processor has it, which is beyond the tolerance."""


def to_onnx(bundle: Bundle, out: Path) -> Run:
    """The shipped file as it is: student.onnx."""
    import onnxruntime

    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(bundle.onnx, out / "student.onnx")
    session = onnxruntime.InferenceSession(str(out / "student.onnx"), providers=["CPUExecutionProvider"])
    return lambda x: np.asarray(session.run(None, {"input": x})[0])


def to_openvino(bundle: Bundle, out: Path) -> Run:
    """student.xml and student.bin, float32; load them with FLOAT32. Raises CompressError where OpenVINO is missing."""
    try:
        openvino = importlib.import_module("openvino")
    except ModuleNotFoundError:
        raise CompressError(
            "OpenVINO is not installed here; install the package openvino, or export with --format onnx."
        ) from None
    out.mkdir(parents=True, exist_ok=True)
    openvino.save_model(openvino.convert_model(str(bundle.onnx)), str(out / "student.xml"), compress_to_fp16=False)
    compiled = openvino.Core().compile_model(str(out / "student.xml"), "CPU", FLOAT32)
    return lambda x: np.asarray(next(iter(compiled(x).values())))


FORMATS: Mapping[str, Callable[[Bundle, Path], Run]] = {"onnx": to_onnx, "openvino": to_openvino}


class Parity(Measured):
    """How near an exported student comes to the torch student on the golden inputs."""

    cases: int
    difference: float
    """The largest of a calibrated probability."""
    tolerance: float = TOLERANCE
    ok: bool


def parity(bundle: Bundle, run: Run, x: torch.Tensor) -> Parity:
    """Ask an exported student the golden inputs (B, 3, S, S) again."""
    with torch.inference_mode():
        expected = bundle.model("student")(x).numpy()
    temperature = bundle.card.temperature("student")
    difference = float(np.abs(softmax(run(x.numpy()), temperature) - softmax(expected, temperature)).max())
    return Parity(cases=len(x), difference=difference, ok=difference <= TOLERANCE)
