"""Weights rounded to int8 so that the layer's outputs move least, not the weights.

Each weight is rounded in turn, and what that does to the outputs is made up for by the weights still to be rounded, as
far as the inputs go together (Frantar et al., ICLR 2023, https://arxiv.org/abs/2210.17323, after Hassibi & Stork 1993).
The inputs are those seen on real images, behind the layers already rounded; what is to be kept are the layer's outputs
in the true network (Li et al., ICML 2025, https://arxiv.org/abs/2504.02692), for which the weights are fitted by least
squares before they are rounded (`refit`). That fit, that depthwise convolutions are rounded channel by channel in the
same way, and that the largest weight of a channel keeps its place, are ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

DAMP = 0.01
"""Share of the mean square of the inputs that is added to each: few images must not decide alone."""


def round_weights(weights: np.ndarray, gram: np.ndarray | None = None) -> np.ndarray:
    """Weights (C, ...) to 255 even steps of each output channel: scale = largest weight / 127.

    gram (G, n, n): products of the layer's inputs in each of its G groups, n of them per output (`gram_of`); without it
    each weight goes to its nearest step. The largest weight of a channel stays as it is, so the steps are found again.
    """
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    scale = np.abs(flat).max(axis=1, keepdims=True) / 127
    scale[scale == 0] = 1
    groups = 1 if gram is None else len(gram)
    steps = (flat / scale).reshape(groups, -1, flat.shape[1])  # (G, C / G, n)
    whole = np.rint(steps) if gram is None else _compensated(steps, gram)
    rounded: np.ndarray = (whole.reshape(flat.shape) * scale).reshape(weights.shape).astype(np.float32)
    return rounded


def refit(weights: np.ndarray, gram: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """Weights (C, ...) for changed inputs, so that the outputs stay near those of the weights on the true inputs.

    gram (G, n, n): products of the changed inputs; cross (G, n, n): of the true ones with the changed.
    """
    flat = weights.reshape(len(gram), -1, gram.shape[1]).astype(np.float64)  # (G, C / G, n)
    changed = np.linalg.solve(_damped(gram), (flat @ (cross - gram)).transpose(0, 2, 1)).transpose(0, 2, 1)
    fitted: np.ndarray = (flat + changed).reshape(weights.shape)
    return fitted


def products(x: np.ndarray, y: np.ndarray, node: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Products of inputs (G, n, n), summed over what a Conv or Gemm node sees of x and y, (B, C, H, W) or (B, C).

    shape: that of the node's weights, the output channel first.
    """
    if node.op_type == "Gemm":
        rows: np.ndarray = (x.astype(np.float64).T @ y.astype(np.float64))[None]
        return rows
    found: np.ndarray = np.einsum("gbnl,gbml->gnm", _seen(x, node, shape), _seen(y, node, shape), optimize=True)
    return found


def _seen(x: np.ndarray, node: Any, shape: tuple[int, ...]) -> np.ndarray:
    """What each output of a Conv node sees of x (B, C, H, W): (G, B, n, L)."""
    import torch
    from torch.nn.functional import pad, unfold

    given = {attribute.name: attribute for attribute in node.attribute}
    ints = {name: tuple(given[name].ints) for name in ("pads", "strides", "dilations") if name in given}
    top, left, bottom, right = ints.get("pads", (0, 0, 0, 0))
    padded = pad(torch.from_numpy(x), (left, right, top, bottom))
    stride, dilation = ints.get("strides", (1, 1)), ints.get("dilations", (1, 1))
    groups = given["group"].i if "group" in given else 1
    seen = unfold(padded, shape[2:], dilation=dilation, stride=stride)  # (B, C k k, L)
    found: np.ndarray = seen.reshape(len(x), groups, -1, seen.shape[2]).transpose(0, 1).numpy()
    return found


def _damped(gram: np.ndarray) -> np.ndarray:
    size = gram.shape[1]
    more = np.maximum(DAMP * np.einsum("gnn->g", gram) / size, 1e-9)
    damped: np.ndarray = gram + more[:, None, None] * np.eye(size)
    return damped


def _compensated(steps: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Weights in steps (G, r, n), real numbers, to whole ones from -127 to 127."""
    size = steps.shape[2]
    upper = np.linalg.cholesky(np.linalg.inv(_damped(gram))).transpose(0, 2, 1)  # (G, n, n)
    left, whole = steps.copy(), np.empty_like(steps)
    largest = np.abs(steps).argmax(axis=2)  # (G, r)
    for i in range(size):
        nearest = np.clip(np.rint(left[:, :, i]), -127, 127)
        whole[:, :, i] = np.where(largest == i, np.rint(steps[:, :, i]), nearest)
        off = (left[:, :, i] - whole[:, :, i]) / upper[:, i, i, None]
        left[:, :, i + 1 :] -= off[:, :, None] * upper[:, None, i, i + 1 :]
    return whole
