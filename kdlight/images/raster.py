"""A picture as it is stored becomes what is shown: upright, on black, gray with fitting windows or color of 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kdlight.contracts.modality import Window
from kdlight.images.errors import HeaderError
from kdlight.images.luts import in_bands

_DEPTHS = (8, 10, 12, 14, 16, 32, 64)
"""Bits of a sample that files are made with, in words of as many bits or more."""
_WORDS = (16, 32, 64)
"""Bits of a word that may hold samples of fewer."""
_SAMPLE = 2_000_000
"""Values that the ends of the bulk are taken from."""
_BULK = (0.1, 99.9)
"""Percentiles between which nearly all values lie. A value is an outlier if it lies outside by more than their distance
(the choice is ours)."""
_LARGEST = float(np.finfo(np.float32).max)
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
"""How samples are turned upright, by the EXIF orientation."""


@dataclass(frozen=True, slots=True)
class Raster:
    """Samples as a file holds them."""

    values: np.ndarray
    """(H, W), or (H, W, C): gray, gray and alpha, RGB, RGB and alpha for 1 to 4 channels; integers or floats."""
    bits: int
    """Bits that a sample has."""
    orientation: int = 1
    """EXIF orientation, 1 to 8."""
    white_is_zero: bool = False
    nodata: float | None = None
    """A value that says that nothing was measured."""


def shown(raster: Raster) -> tuple[np.ndarray, tuple[Window, ...]]:
    """Pixels and windows as `Image` has them: gray where all channels are equal, else RGB."""
    values = _over_black(raster)
    if values.ndim == 3 and (values[..., 0] == values[..., 1]).all() and (values[..., 1] == values[..., 2]).all():
        values = values[..., 0]
    values = _UPRIGHT.get(raster.orientation, np.asarray)(values)
    return _gray(values, raster) if values.ndim == 2 else (_color(values, raster.bits), ())


def _over_black(raster: Raster) -> np.ndarray:
    """The colors laid on black by their alpha; an alpha of zeros everywhere, which would show nothing, is none."""
    values, kind = raster.values, raster.values.dtype
    channels = values.shape[2] if values.ndim == 3 else 1
    color = values[..., :3] if channels >= 3 else values[..., 0] if values.ndim == 3 else values
    if channels in (1, 3):
        return color
    top = 1.0 if kind.kind == "f" else float(np.iinfo(kind).max)
    alpha = np.clip(values[..., -1].astype(np.float32) / top, 0, 1)
    if not alpha.any() or bool((alpha == 1).all()):
        return color
    share = (alpha if color.ndim == 2 else alpha[..., None]).astype(np.float64)
    black = float(2**raster.bits - 1) if raster.white_is_zero else 0.0
    blended = color * share + black * (1 - share)
    return np.asarray(blended if kind.kind == "f" else np.rint(blended)).astype(kind)


def _gray(values: np.ndarray, raster: Raster) -> tuple[np.ndarray, tuple[Window, ...]]:
    """Gray values as they are, float32 (H, W), and the windows that fit them; 8 bits are shown as stored.

    What is no number or no data becomes the lowest value that was measured; the first window fits without outliers.
    """
    if values.dtype == np.uint8 and raster.bits == 8:
        return values.astype(np.float32), (Window(127.5, 255, "full"),)
    empty = _empty(values, raster.nodata)
    if empty.all():
        raise HeaderError("The picture holds no finite number.")
    measured = values[~empty] if empty.any() else values
    filled = np.where(empty, measured.min(), values) if empty.any() else values
    low, high = float(measured.min()), float(measured.max())
    ends = _bulk(measured, low, high)
    windows = [_between(*ends, "fit")] if ends != (low, high) or empty.any() else []
    if values.dtype.kind in "ui" and low >= 0:
        windows += [] if windows or high == low else [_between(low, high, "range")]
        windows.append(Window((2**raster.bits - 1) / 2, 2**raster.bits - 1, "full"))
    else:
        windows.append(_between(low, high, "range"))
    return np.clip(filled, -_LARGEST, _LARGEST).astype(np.float32), tuple(windows)


def _empty(values: np.ndarray, nodata: float | None) -> np.ndarray:
    """Where nothing was measured: (H, W) bool. The least or largest float, or near it, stands for no data too."""
    unknown, kind = np.asarray(~np.isfinite(values)), values.dtype
    empty = unknown.copy()
    if nodata is not None:
        empty |= values == (kind.type(nodata) if kind.kind == "f" else nodata)
    if kind.kind == "f":
        empty |= np.abs(values) > _LARGEST / 4
    return unknown if empty.all() else empty


def _between(low: float, high: float, name: str) -> Window:
    return Window((low + high) / 2, high - low if high > low else max(1.0, abs(low)), name)


def _bulk(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """The ends of the values without outliers; the lowest and highest value where there are none."""
    flat = values.reshape(-1)
    some = np.percentile(flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64), _BULK)
    width = float(some[1] - some[0])
    if width <= 0:
        return low, high
    inside = flat[(flat >= some[0] - width) & (flat <= some[1] + width)]
    return float(inside.min()), float(inside.max())


def _color(values: np.ndarray, bits: int) -> np.ndarray:
    """RGB (H, W, 3) uint8, scaled by the full range and rounded, not cut; the lowest value below 0 is black.

    Full is what the bits hold; in words of 16 bits and more the least of _DEPTHS that holds the brightest sample.
    Floats are full at 1, else at 255, else at their brightest.
    """
    if values.dtype == np.uint8 and bits == 8:
        return np.ascontiguousarray(values)
    if not np.isfinite(values).all():
        raise HeaderError("The picture holds values that are no finite numbers.")
    low, high = min(0.0, float(values.min())), float(values.max())
    if values.dtype.kind == "f":
        top = next((full for full in (1.0, 255.0) if high <= full), high)
    else:
        depths = _DEPTHS if bits in _WORDS else (bits,)
        top = next((2.0**depth - 1 for depth in depths if high <= 2.0**depth - 1), high)
    scale = 255 / max(top - low, 1e-30)
    return in_bands(values, np.uint8, lambda band: np.clip(np.rint((band.astype(np.float64) - low) * scale), 0, 255))
