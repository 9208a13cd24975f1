"""Pictures of more than 8 bits, with a sign, or of floats: what Pillow would cut to 8 bits, wrap, or not open at all.

PNG and JPEG are decoded by libpng, libjpeg-turbo and CharLS through imagecodecs; TIFF has a file of its own.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

import numpy as np
from imagecodecs import jpeg8_decode, jpegls_decode, jpegsof3_decode, png_decode

from kdlight.images.codestream import Codestream, codestream, segments
from kdlight.images.errors import CodecError, HeaderError, TruncatedError, UnsupportedError
from kdlight.images.limits import check_pixels
from kdlight.images.luts import in_bands
from kdlight.modality import Window

_FRAMES = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2), "JPEG"),
    0xC3: "lossless JPEG",
    **dict.fromkeys((0xC5, 0xC6, 0xC7), "hierarchical JPEG"),
    **dict.fromkeys((0xC9, 0xCA, 0xCB), "JPEG with arithmetic coding"),
    **dict.fromkeys((0xCD, 0xCE, 0xCF), "hierarchical JPEG with arithmetic coding"),
    0xF7: "JPEG-LS",
}
"""Kinds of JPEG by the marker of their frame header (ITU-T T.81 table B.1, T.87)."""
_DEPTHS = (8, 10, 12, 14, 16, 32, 64)
"""Bits of a sample that files are made with, in words of as many bits or more."""
_WORDS = (16, 32, 64)
"""Bits of a word that may hold samples of fewer."""
_SAMPLE = 2_000_000
"""Values that the ends of the bulk are taken from."""
_BULK = (0.1, 99.9)
"""Percentiles between which nearly all values lie."""
_ALONE = 1.0
"""How far, in widths of the bulk, a value must lie outside of it to be an outlier. The choice is ours."""
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Samples:
    """A picture as it is stored, not turned upright."""

    values: np.ndarray
    """(H, W) gray or (H, W, 3) RGB, integers or floats."""
    bits: int
    alpha: np.ndarray | None = None
    """(H, W) float32 in [0, 1]."""
    white_is_zero: bool = False
    nodata: float | None = None
    """A value that says that nothing was measured."""


def samples_of(data: bytes, format_: str) -> Samples | None:
    """The samples of a PNG or JPEG that Pillow does not read in full; None where it does. Raises ImageError."""
    if format_ == "png" and data[24] == 16 and data[25] in (2, 4, 6):
        return split_alpha(png_decode(data), 16)
    if format_ == "jpeg":
        return _jpeg(data)
    return None


def split_alpha(values: np.ndarray, bits: int, **facts: bool | float | None) -> Samples:
    """(H, W[, C]) with 1 or 3 channels, an alpha channel after them or not, to samples."""
    if values.ndim == 2 or values.shape[2] in (1, 3):
        plain = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
        return Samples(plain, bits, None, **facts)  # type: ignore[arg-type]
    color = values[..., :-1] if values.shape[2] == 4 else values[..., 0]
    top = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
    alpha = np.clip(values[..., -1].astype(np.float32) / top, 0, 1)
    return Samples(color, bits, alpha, **facts)  # type: ignore[arg-type]


def _jpeg(data: bytes) -> Samples | None:
    """12 bits, lossless or JPEG-LS; None for the 8 bits that Pillow reads, or may say what is wrong with."""
    if jpeg_words(data) in ("", "an 8-bit JPEG"):
        return None
    try:
        found = codestream(data)
    except (CodecError, HeaderError):
        return None
    check_pixels(found.rows, found.columns)
    if found.end is None:
        raise TruncatedError("The JPEG file is truncated: a part of the picture is missing.")
    values = _decoded(data, found)
    if values.ndim == 3 and values.shape[2] != 3:
        raise UnsupportedError(
            f"The file is {jpeg_words(data)} of {values.shape[2]} components, which is not read here. Save it as PNG."
        )
    return Samples(values, found.precision)


def _decoded(data: bytes, found: Codestream) -> np.ndarray:
    decode = {"jpeg": jpeg8_decode, "lossless": jpegsof3_decode, "jpegls": jpegls_decode}[found.kind]
    try:
        return np.asarray(decode(data))
    except Exception:  # noqa: BLE001  each decoder has errors of its own
        raise UnsupportedError(
            f"The file is {jpeg_words(data)}, and this one cannot be decoded here. Save it as PNG and try again."
        ) from None


def jpeg_words(data: bytes) -> str:
    """What a JPEG is by its first frame header, such as a 16-bit arithmetic JPEG; empty where it has none."""
    with contextlib.suppress(CodecError):
        for marker, content, _ in segments(data):
            if marker in _FRAMES and content:
                return f"{'an' if content[0] == 8 else 'a'} {content[0]}-bit {_FRAMES[marker]}"
    return ""


def gray_or_color(samples: Samples) -> Samples:
    """Over black where it is transparent, gray where all three channels are equal."""
    values = over_black(samples)
    if values.ndim == 3 and (values[..., 0] == values[..., 1]).all() and (values[..., 1] == values[..., 2]).all():
        values = values[..., 0]
    return replace(samples, values=values, alpha=None)


def over_black(samples: Samples) -> np.ndarray:
    """The values laid on black by their alpha; an alpha of zeros everywhere, which would show nothing, is none."""
    alpha = samples.alpha
    if alpha is None or not alpha.any() or bool((alpha == 1).all()):
        return samples.values
    share = alpha if samples.values.ndim == 2 else alpha[..., None]
    black = float(2**samples.bits - 1) if samples.white_is_zero else 0.0
    laid = samples.values * share.astype(np.float64) + black * (1 - share)
    kind = samples.values.dtype
    return np.asarray(laid if kind.kind == "f" else np.rint(laid)).astype(kind)


def as_gray(samples: Samples) -> tuple[np.ndarray, tuple[Window, ...]]:
    """Gray values as they are, float32 (H, W), and the windows that fit them; 8 bits are shown as stored.

    What is no number or no data becomes the lowest value that was measured, as what is no number does in DICOM. Where a
    few values lie far outside of all others (a hot pixel, a burned-in mark, a value for no data), the first window
    fits the others.
    """
    if samples.values.dtype == np.uint8 and samples.bits == 8:
        return samples.values.astype(np.float32), (Window(127.5, 255, "full"),)
    values, empty = samples.values, _empty(samples)
    if empty.all():
        raise HeaderError("The picture holds no finite number.")
    measured = values[~empty] if empty.any() else values
    filled = np.where(empty, measured.min(), values) if empty.any() else values
    pixels = np.clip(filled, -_LARGEST, _LARGEST).astype(np.float32)
    low, high = float(measured.min()), float(measured.max())
    ends = _bulk(measured, low, high)
    windows = []
    if ends != (low, high) or empty.any():
        windows.append(_between(*ends, "fit"))
    if values.dtype.kind in "ui" and low >= 0:
        windows += [] if windows or high == low else [_between(low, high, "range")]
        windows.append(Window((2**samples.bits - 1) / 2, 2**samples.bits - 1, "full"))
    else:
        windows.append(_between(low, high, "range"))
    return pixels, tuple(windows)


def _empty(samples: Samples) -> np.ndarray:
    """Where nothing was measured: (H, W) bool."""
    empty = np.asarray(~np.isfinite(samples.values))
    kind = samples.values.dtype
    if samples.nodata is not None:
        empty |= samples.values == (kind.type(samples.nodata) if kind.kind == "f" else samples.nodata)
    if kind.kind == "f":
        empty |= np.abs(samples.values) > _LARGEST / 4  # the least or largest float, or near it, stands for no data
    return np.asarray(~np.isfinite(samples.values) if empty.all() else empty)


def _between(low: float, high: float, name: str) -> Window:
    return Window((low + high) / 2, high - low if high > low else max(1.0, abs(low)), name)


def _bulk(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """The ends of the values without outliers; the lowest and highest value where there are none."""
    flat = values.reshape(-1)
    some = np.percentile(flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64), _BULK)
    width = _ALONE * float(some[1] - some[0])
    if width <= 0:
        return low, high
    inside = flat[(flat >= some[0] - width) & (flat <= some[1] + width)]
    return float(inside.min()), float(inside.max())


def as_color(samples: Samples) -> np.ndarray:
    """RGB (H, W, 3) uint8, scaled by the full range and rounded, not cut.

    Full is what the bits hold; of words of 16 bits and more the least of 8, 10, 12, 14, 16, 32 or 64 bits that holds
    the brightest sample, since cameras store 10, 12 and 14 bits in 16. Floats are full at 1, else at 255, else at their
    brightest. Where there are values below 0, the lowest is black.
    """
    values = samples.values
    if not np.isfinite(values).all():
        raise HeaderError("The picture holds values that are no finite numbers.")
    low, high = min(0.0, float(values.min())), float(values.max())
    if values.dtype.kind == "f":
        top = next((full for full in (1.0, 255.0) if high <= full), high)
    else:
        depths = _DEPTHS if samples.bits in _WORDS else (samples.bits,)
        top = next((2.0**bits - 1 for bits in depths if high <= 2.0**bits - 1), high)
    scale = 255 / max(top - low, 1e-30)
    return in_bands(values, np.uint8, lambda band: np.clip(np.rint((band.astype(np.float64) - low) * scale), 0, 255))
