"""Positions that follow tensors through a forward pass: where the cells of a layer's maps lie on the input.

No network describes itself for it: the functions of torch that move cells (RULES) say where the cells of their outputs
lie, all others leave them where they are, and merged or padded patches show in the shapes of what comes after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from kdlight.explain.lattice import Axis, Lattice, pixels

Pair = tuple[int, int]


_KNOWN: WeakKeyDictionary[nn.Module, dict[tuple[tuple[int, ...], Pair], list[Lattice]]] = WeakKeyDictionary()
"""Network -> what was asked of it before: (layers, input size) -> lattices."""


@contextmanager
def located(model: nn.Module, layers: Sequence[nn.Module], x: Tensor) -> Iterator[list[Lattice]]:
    """Where the cells of the maps (B, C, h, w) that `layers` put out lie on the input x (B, C, H, W).

    The list is filled once the model was asked for x inside the with statement; what it gives is remembered, so that
    later passes at this size cost nothing more.
    """
    known, key = _KNOWN.setdefault(model, {}), (tuple(map(id, layers)), (x.shape[-2], x.shape[-1]))
    if key in known:
        yield known[key]
        return
    seen: dict[int, Lattice] = {}
    places: list[Lattice] = []
    trace = Trace()

    def note(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        seen[id(module)] = trace.of(output)
        places[:] = [seen[id(layer)] for layer in layers if id(layer) in seen]

    handles = [layer.register_forward_hook(note, prepend=True) for layer in layers]
    try:
        with trace:
            trace.begin(x)
            yield places
    finally:
        for handle in handles:
            handle.remove()
    if len(places) == len(layers):
        known[key] = places


def lattices(model: nn.Module, layers: Sequence[nn.Module], x: Tensor) -> list[Lattice]:
    """As `located`, with a forward pass of its own where these layers were never seen at this size."""
    with torch.no_grad(), located(model, layers, x) as places:
        if not places:
            model(x)
    return places


class Trace(TorchFunctionMode):
    """Inside it, tensors that come from the input know where their cells lie on it."""

    def __init__(self) -> None:
        super().__init__()
        self._lattices: Any = WeakTensorKeyDictionary()

    def begin(self, x: Tensor) -> None:
        """x (B, C, H, W) is the input."""
        self._input = pixels(x.shape[-2:])
        self._lattices[x] = self._input

    def of(self, maps: Tensor) -> Lattice:
        """Where the cells of maps (B, C, h, w) lie. Raises ValueError for maps that do not come from the input."""
        if maps not in self._lattices:
            raise ValueError("A layer puts out no map of the input, so its cells have no place on the image.")
        lattice: Lattice = self._lattices[maps]
        if lattice.reaches(maps.shape[-2:]):
            return lattice.each(Axis.merged, maps.shape[-2:])
        return self._input.each(Axis.resized, maps.shape[-2:])  # what rearranged them is not known: as a picture

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor | tuple | list):
            sources = [lattice for tensor in _tensors(args) if (lattice := self._lattices.get(tensor)) is not None]
            for tensor in _tensors([out]) if sources else ():
                self._lattices[tensor] = self._behind(func, sources, tensor, args, kwargs or {})
        return out

    def _behind(self, func: Any, sources: list[Lattice], out: Tensor, args: Any, kwargs: Any) -> Lattice:
        rule = RULES.get(getattr(func, "__name__", ""))
        if rule is None or not isinstance(args[0], Tensor) or args[0].dim() != 4 or out.dim() != 4:
            return joined(sources, out)
        sides = args[0].shape[1:3] if rule is _pad and len(_padding(*args, **kwargs)) == 6 else args[0].shape[2:]
        if not sources[0].reaches(sides):
            return joined(sources, out)  # no map: tokens and heads, or matrices of an attention
        return rule(sources[0], out, *args, **kwargs)


def joined(sources: Sequence[Lattice], out: Tensor) -> Lattice:
    """Where values lie that several tensors make: the mean of those on the finest grid that `out` has room for.

    A branch that pads to whole windows and cuts them off again is on a grid that is there no more.
    """
    most = max((_fit(source, out.shape[1:]), source.cells) for source in sources)[1]
    finest = [source for source in sources if source.cells == most]
    first = finest[0]
    rows = sum(source.rows.first for source in finest) / len(finest)
    columns = sum(source.columns.first for source in finest) / len(finest)
    return Lattice(replace(first.rows, first=rows), replace(first.columns, first=columns))


def _fit(lattice: Lattice, sides: Sequence[int]) -> int:
    """3 where these sides hold exactly the cells, 2 where all of them merged, 1 where some were padding, else 0."""
    pairs = list(pairwise(sides))
    if lattice.cells in {*sides, *(a * b for a, b in pairs)}:
        return 3
    reached = [pair for pair in pairs if lattice.reaches(pair)]
    whole = any(all(axis.count % side == 0 for axis, side in zip(lattice.axes, pair, strict=True)) for pair in reached)
    return 2 if whole else int(bool(reached))


def _tensors(values: Iterable[Any]) -> Iterable[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


def _slid(names: Sequence[str], source: Lattice, out: Tensor, maps: Tensor, *values: Any, **named: Any) -> Lattice:
    """Behind a kernel that slides; `names` are those of the function's arguments after its input."""
    given = dict(zip(names, values, strict=False)) | named
    kernel = given["weight"].shape[-2:] if "weight" in given else given["kernel_size"]
    stride = given.get("stride") or (1 if "weight" in given else kernel)
    padding, source = given.get("padding", 0), source.each(Axis.merged, maps.shape[-2:])
    kernels, strides, gaps = (_pair(value) for value in (kernel, stride, given.get("dilation", 1)))
    spans = [gap * (side - 1) + 1 for side, gap in zip(kernels, gaps, strict=True)]
    if isinstance(padding, str):
        pads = [0, 0] if padding == "valid" else [(span - 1) / 2 for span in spans]
    else:
        pads = list(_pair(padding))
    sides = zip(source.axes, spans, strides, pads, out.shape[-2:], strict=True)
    return Lattice(*(axis.behind(span, step, pad, count) for axis, span, step, pad, count in sides))


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _padding(_maps: Tensor, pad: Sequence[int], *_others: Any, **_named: Any) -> Sequence[int]:
    return pad


def _pad(source: Lattice, out: Tensor, maps: Tensor, pad: Sequence[int], *_others: Any, **_named: Any) -> Lattice:
    """`pad` counts from the last side: left, right, top, bottom; channels come first where they are the last side."""
    first, skipped = (1, 2) if len(pad) == 6 else (2, 0)
    source = source.each(Axis.merged, maps.shape[first : first + 2])
    left, top = pad[skipped], pad[skipped + 2] if len(pad) > 2 else 0
    sides = zip(source.axes, (top, left), out.shape[first : first + 2], strict=True)
    return Lattice(*(axis.behind(1, 1, before, count) for axis, before, count in sides))


def _resized(source: Lattice, out: Tensor, maps: Tensor, *_others: Any, **_named: Any) -> Lattice:
    return source.each(Axis.merged, maps.shape[-2:]).each(Axis.resized, out.shape[-2:])


_MAXIMUM = partial(_slid, ("kernel_size", "stride", "padding", "dilation"))
RULES: dict[str, Callable[..., Lattice]] = {
    "conv2d": partial(_slid, ("weight", "bias", "stride", "padding", "dilation")),
    "max_pool2d": _MAXIMUM,
    "_max_pool2d": _MAXIMUM,
    "boolean_dispatch": _MAXIMUM,
    "avg_pool2d": partial(_slid, ("kernel_size", "stride", "padding")),
    "adaptive_avg_pool2d": _resized,
    "pad": _pad,
    "interpolate": _resized,
}
"""Functions of torch that move cells, by name; every other leaves them where they are."""
