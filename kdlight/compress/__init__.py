"""From a trained student to what is shipped, and to less: float16 and int8 files, and what they change."""

from kdlight.compress.compare import alternate, compare
from kdlight.compress.half import export_half
from kdlight.compress.int8 import CALIBRATIONS, CompressError, quantize, select
from kdlight.compress.onnx import export_onnx, round_to_half

__all__ = [
    "CALIBRATIONS",
    "CompressError",
    "alternate",
    "compare",
    "export_half",
    "export_onnx",
    "quantize",
    "round_to_half",
    "select",
]
