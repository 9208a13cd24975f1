"""From a trained student to what is shipped, and to less: float16 and int8 files, and what they change."""

from kdlight.compress.compare import compare
from kdlight.compress.int8 import CompressError, quantize
from kdlight.compress.onnx import export_half, export_onnx, round_to_half

__all__ = ["CompressError", "compare", "export_half", "export_onnx", "quantize", "round_to_half"]
