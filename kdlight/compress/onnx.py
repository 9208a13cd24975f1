"""ONNX, and the float16 weights that every shipped figure is measured with."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from kdlight.models import Classifier

OPSET = 17


def export_onnx(model: Classifier, path: Path, size: int) -> None:
    """Write `input` (batch, 3, height, width) float32 -> `logits` (batch, K); batch, height and width stay free.

    The tracing exporter is used: it folds batch norm into the convolutions and takes a second where the newer one,
    tried on the same network, takes thirty and gives the same result.
    """
    example = torch.zeros(1, 3, size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.cpu().eval(),
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes={"input": {0: "batch", 2: "height", 3: "width"}, "logits": {0: "batch"}},
        )


def round_to_half(model: nn.Module) -> None:
    """Round every weight to what float16 can hold, in place: what is measured afterwards is what is shipped.

    Raises ValueError if a weight does not fit into float16 (above 65504).
    """
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
                if not bool(torch.isfinite(tensor).all()):
                    raise ValueError(f"{name} has values beyond float16; finite ones up to 65504 were expected.")
