"""ONNX in float32 and float16, and the float16 weights that every shipped figure is measured with."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from kdlight.compress.graph import compact, fold_pointwise, halve
from kdlight.explain.classmap import linear_head, with_features
from kdlight.models import Classifier

OPSET = 17


def export_onnx(model: Classifier, path: Path, size: int) -> None:
    """Write `input` (batch, 3, height, width) float32 -> `logits` (batch, K) and, where there are any, `maps`.

    `maps` (batch, K, h, w) are the class maps of a network that ends in global pooling and one linear layer: its logits
    are their mean plus the bias, so they cost nothing. batch, height and width stay free. Batch norm is folded into the
    convolutions, and two pointwise convolutions with nothing between become one where that is no more work.
    """
    import onnx

    _trace(model, path, size)
    graph = onnx.load(path)
    fold_pointwise(graph.graph)
    path.write_bytes(graph.SerializeToString())


def export_half(model: Classifier, path: Path, size: int) -> None:
    """Write what `export_onnx` writes, with every large weight in float16: half the bytes, the very same answers.

    A bundle's weights are numbers that float16 holds (`round_to_half`). Folding batch norm into a convolution gives
    others, so here it stays in the file and the runtime folds it when it loads: the arithmetic is float32. A weight
    that float16 does not hold exactly stays float32.
    """
    import onnx

    _trace(model, path, size, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    graph = onnx.load(path)
    halve(graph.graph)
    compact(graph)
    path.write_bytes(graph.SerializeToString())


def _trace(model: Classifier, path: Path, size: int, **options: Any) -> None:
    """Write the network as torch's tracing exporter gives it: in a second, where the newer one takes thirty."""
    traced = _with_maps(model.cpu().eval().at(size), size)
    free = {0: "batch", 2: "height", 3: "width"}
    names = ["logits", "maps"] if isinstance(traced, _Mapped) else ["logits"]
    axes = {"input": free, "logits": {0: "batch"}, "maps": {0: "batch", 2: "rows", 3: "columns"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            traced.eval(),
            (torch.zeros(1, 3, size, size),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["input"],
            output_names=names,
            dynamic_axes={name: axes[name] for name in ("input", *names)},
            **options,
        )


class _Mapped(nn.Module):
    """A network with its class maps: the linear layer as a pointwise convolution before the pooling."""

    def __init__(self, model: Classifier, head: nn.Linear) -> None:
        super().__init__()
        self.model = model
        self.head = nn.Conv2d(head.in_features, head.out_features, 1, bias=False)
        self.head.weight = nn.Parameter(head.weight.detach()[:, :, None, None].clone())
        self.bias = None if head.bias is None else nn.Parameter(head.bias.detach().clone())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and maps (B, K, h, w)."""
        maps = self.head(with_features(self.model, x)[1])
        logits = adaptive_avg_pool2d(maps, 1).flatten(1)
        return logits if self.bias is None else logits + self.bias, maps


def _with_maps(model: Classifier, size: int) -> nn.Module:
    with torch.no_grad():
        x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        logits, features = with_features(model, x)
        head = linear_head(model, features, logits)
    return model if head is None else _Mapped(model, head)


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
