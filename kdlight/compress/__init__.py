"""From a trained student to what is shipped."""

from kdlight.compress.onnx import export_onnx, round_to_half

__all__ = ["export_onnx", "round_to_half"]
