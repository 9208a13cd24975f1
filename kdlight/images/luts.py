"""From stored to shown values: modality LUT, VOI LUT, windows (DICOM PS3.3 C.11.1, C.11.2), and YCbCr."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from kdlight.contracts.modality import FUNCTIONS, Window
from kdlight.images.errors import HeaderError
from kdlight.images.frames import bit_field
from kdlight.images.header import PixelHeader, items, macro, number, numbers, text

_CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
_LARGEST = float(np.finfo(np.float32).max)
_SAMPLE = 1_000_000
_WINDOWS = 100
"""That are taken from a file; it may hold thousands."""


@dataclass(frozen=True, slots=True)
class Lut:
    """`values` (n,) integers; the first stands for the input `first`, inputs outside take the nearest end."""

    values: np.ndarray
    first: int
    bits: int


def modality_values(stored: np.ndarray, ds: Dataset, header: PixelHeader, frame: int, little: bool) -> np.ndarray:
    """Stored values to modality units, float32: by LUT where the file has one, else slope and intercept."""
    if tables := _tables(ds, "ModalityLUTSequence"):
        lut = read_lut(tables[0], (header.lowest, header.highest), little)
        return in_bands(stored, np.float32, lambda v: lut.values[np.clip(_wide(v) - lut.first, 0, len(lut.values) - 1)])
    slope, intercept = _rescale(ds, frame)
    if (slope, intercept) == (1.0, 0.0):
        return _finite(stored)
    scaled = in_bands(stored, np.float32, lambda v: np.clip(_wide(v) * slope + intercept, -_LARGEST, _LARGEST))
    return _finite(scaled)


def _rescale(ds: Dataset, frame: int) -> tuple[float, float]:
    """Slope and intercept. Raises HeaderError for a slope of 0."""
    place = macro(ds, frame, "PixelValueTransformationSequence")
    slope, intercept = number(place, "RescaleSlope"), number(place, "RescaleIntercept")
    if slope == 0:
        raise HeaderError("Rescale Slope is 0, which would make every pixel the same.")
    return 1.0 if slope is None else slope, intercept or 0.0


def hounsfield(ds: Dataset, frame: int) -> bool:
    """Whether the units are HU: said so, or a CT image whose rescale type is left to its default (PS3.3 C.8.2.1)."""
    place = macro(ds, frame, "PixelValueTransformationSequence")
    units = text(place, "RescaleType")
    if units or _tables(ds, "ModalityLUTSequence"):
        return units == "HU"
    return str(ds.get("SOPClassUID")) in _CT_CLASSES and number(place, "RescaleIntercept") is not None


def file_windows(ds: Dataset, header: PixelHeader, frame: int) -> tuple[Window, ...]:
    """The windows of the file, without its own names for them: free text stays behind.

    `linear`, the default function, counts in whole units; for pixels that are floats it is taken as exact.
    """
    place = macro(ds, frame, "FrameVOILUTSequence")
    try:
        pairs = zip(numbers(place, "WindowCenter"), numbers(place, "WindowWidth"), strict=False)
        valid = list(dict.fromkeys((c, w) for c, w in pairs if w > 0))[:_WINDOWS]
    except HeaderError:
        return ()
    named = text(place, "VOILUTFunction").lower()
    function = named if named in FUNCTIONS else "linear" if header.integer else "linear_exact"
    names = ["file"] if len(valid) == 1 else [f"file {i + 1}" for i in range(len(valid))]
    return tuple(Window(c, w, n, function) for (c, w), n in zip(valid, names, strict=True))


def fitting_windows(pixels: np.ndarray, header: PixelHeader, empty: np.ndarray | None = None) -> tuple[Window, ...]:
    """What fits the values: the whole scale of 1 to 8 bits as stored, else the bulk of the values, then all of them.

    empty: (H, W) bool, True where nothing was measured; the bulk is of the other pixels.
    """
    if header.integer and header.stored <= 8 and not header.signed and 0 <= pixels.min() <= pixels.max() < 256:
        top = float(max(2**header.stored - 1, pixels.max()))
        return (Window(top / 2, top, "full"),)
    step = max(1, pixels.size // _SAMPLE)
    sample = pixels.reshape(-1)[::step]
    measured = sample[~empty.reshape(-1)[::step]] if empty is not None else sample
    low, high = (float(v) for v in np.percentile(measured if measured.size else sample, (0.5, 99.5)))
    least, most = float(pixels.min()), float(pixels.max())
    bulk = Window((low + high) / 2, high - low, "fit") if high > low else None
    span = most - least
    every = Window((least + most) / 2, span if span > 0 else max(1.0, abs(most) * 1e-3), "range")
    return (bulk, every) if bulk is not None else (every,)


def unmeasured(stored: np.ndarray, ds: Dataset, header: PixelHeader) -> np.ndarray | None:
    """Where stored values are padding (PS3.3 C.7.5.1.1.2) or no number: (H, W) bool, None where there are none."""
    empty = ~np.isfinite(stored) if stored.dtype.kind == "f" else np.zeros(stored.shape, bool)
    prefix = header.keyword.removesuffix("PixelData")  # empty, Float, DoubleFloat
    ends = [_padding(ds, f"{prefix}PixelPadding{end}", header) for end in ("Value", "RangeLimit")]
    if (value := ends[0]) is not None:
        limit = value if ends[1] is None else ends[1]
        empty |= (stored >= min(value, limit)) & (stored <= max(value, limit))
    return empty if empty.any() else None


def _padding(ds: Dataset, keyword: str, header: PixelHeader) -> float | None:
    """With the pixels' sign and bits, whichever of US and SS its writer chose; a broken value is none."""
    try:
        value = number(ds, keyword)
    except HeaderError:
        return None
    if value is None or not header.integer:
        return value
    bits = min(header.stored, 16)
    return float(bit_field(np.array([int(value) & 0xFFFF], np.uint16), bits, bits, header.signed)[0])


def voi_lut(ds: Dataset, header: PixelHeader, frame: int, little: bool) -> tuple[np.ndarray, int] | None:
    """The file's VOI LUT as uint8 and the value of its first entry; None where it has none, or none that can be right.

    The descriptor's bits are at times those of the words (16), not of the entries, so the scale ends where the highest
    entry needs no further bit: a table that reaches 4000 has 12 bits, and none fewer than 8 (PS3.3 C.11.2.1.1). One
    step above the scale, as where a writer rounds to 0..1024, is shown as its end; what goes further is broken.
    """
    for item in _tables(macro(ds, frame, "FrameVOILUTSequence"), "VOILUTSequence"):
        try:
            lut = read_lut(item, _input_range(ds, header, frame), little)
        except HeaderError:
            continue
        highest = int(lut.values.max())
        if 0 < highest <= 2**lut.bits:
            top = 2 ** min(lut.bits, max(8, (highest - 1).bit_length())) - 1
            return np.rint(np.minimum(lut.values, top) * (255.0 / top)).astype(np.uint8), lut.first
    return None


def _input_range(ds: Dataset, header: PixelHeader, frame: int) -> tuple[float, float]:
    """The least and the highest value that a pixel may have after the modality LUT, whose output has no sign."""
    if _tables(ds, "ModalityLUTSequence"):
        return 0, 65535
    if not header.integer:
        return -math.inf, math.inf
    slope, intercept = _rescale(ds, frame)
    ends = sorted(end * slope + intercept for end in (header.lowest, header.highest))
    return ends[0], ends[1]


def ybr_rgb(stored: np.ndarray, bits: int, partial: bool = False) -> np.ndarray:
    """YBR_FULL to RGB in the same unsigned depth (PS3.3 C.7.6.3.1.2, ITU-R BT.601).

    partial: YBR_PARTIAL, whose luma goes from 16 to 235 and whose chroma from 16 to 240 of 255.
    """
    top, middle = 2**bits - 1, 2 ** (bits - 1)
    black, luma, chroma = (middle / 8, 255 / 219, 255 / 224) if partial else (0.0, 1.0, 1.0)

    def convert(band: np.ndarray) -> np.ndarray:
        y, b, r = (band[..., i].astype(np.float64) for i in range(3))
        y, b, r = (y - black) * luma, (b - middle) * chroma, (r - middle) * chroma
        rgb = np.stack([y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b], axis=-1)
        return np.asarray(np.clip(np.rint(rgb), 0, top))

    return in_bands(stored, stored.dtype, convert)


def to_bytes(values: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned samples of `bits` to uint8, the whole scale kept."""
    top = 2**bits - 1
    if bits == 8:
        return values.astype(np.uint8)
    return in_bands(values, np.uint8, lambda v: np.rint(np.clip(v, 0, top) * (255.0 / top)))


def in_bands(values: np.ndarray, dtype: npt.DTypeLike, work: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`work` over bands of rows, so that a large frame needs little room beside its input and output."""
    shown = np.empty(values.shape, dtype)
    step = max(1, _SAMPLE // values.shape[1])
    for row in range(0, len(values), step):
        shown[row : row + step] = work(values[row : row + step])
    return shown


def _wide(values: np.ndarray) -> np.ndarray:
    """Whole numbers as int64, floats as float64."""
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)


def _finite(values: np.ndarray) -> np.ndarray:
    """As float32; values that are no number become the lowest one, as nothing was measured there."""
    if values.dtype.kind != "f":
        return values.astype(np.float32)
    known = np.isfinite(values)
    if not known.any():
        raise HeaderError("The pixel data holds no finite number.")
    filled = values if known.all() else np.where(known, values, values[known].min())
    narrow: np.ndarray = np.clip(filled, -_LARGEST, _LARGEST).astype(np.float32)
    return narrow


def _tables(place: Dataset, sequence: str) -> list[Dataset]:
    """The items that hold a table; some writers leave empty ones behind."""
    return [i for i in items(place, sequence) if i.get("LUTDescriptor") or i.get("LUTData")]


def read_lut(item: Dataset, inputs: tuple[float, float], little: bool) -> Lut:
    """A table of LUT Descriptor and LUT Data, entries without sign. `inputs`: least and highest possible input.

    Raises HeaderError where it is broken.
    """
    order = "<" if little else ">"
    count, first, bits = _words(item, "LUTDescriptor", order)[:3]
    count = count or 65536
    raw = item.get("LUTData")
    if isinstance(raw, bytes) and len(raw) in (count, count + 1) and bits <= 8:
        values = packed_bytes(raw, little)[:count]
    else:
        values = np.asarray(_words(item, "LUTData", order)[:count], np.int64)
    if len(values) < count or not 1 <= bits <= 16:
        raise HeaderError(f"A lookup table of the header is broken: {len(values)} of {count} entries of {bits} bits.")
    return Lut(values.astype(np.int64), first_mapped(first, count, inputs), bits)


def packed_bytes(data: bytes, little: bool) -> np.ndarray:
    """8-bit entries that stand in pairs in 16-bit words, the first in the lower half: uint8."""
    return np.frombuffer(data + b"\0" * (len(data) % 2), "<u2" if little else ">u2").astype("<u2").view(np.uint8)


def first_mapped(word: int, count: int, inputs: tuple[float, float]) -> int:
    """The input of a table's first entry from its 16-bit word, whose sign its value representation does not settle.

    It has one where the input may be negative (PS3.3 C.11.2.1.1, C.7.6.3.1.5), unless the `count` entries would then
    lie outside all possible inputs and would not without it; and the other way round.
    """
    signed = word - 65536 if word >= 32768 else word
    likely, other = (signed, word) if inputs[0] < 0 else (word, signed)

    def meets(first: int) -> bool:
        return first <= inputs[1] and first + count > inputs[0]

    return other if meets(other) and not meets(likely) else likely


def _words(item: Dataset, keyword: str, order: str) -> list[int]:
    """16-bit words without sign of an element whose VR may be US, SS or OW."""
    value = item.get(keyword)
    if isinstance(value, bytes):
        words = list(struct.unpack(f"{order}{len(value) // 2}H", value[: len(value) // 2 * 2]))
    else:
        words = [int(v) & 0xFFFF for v in numbers(item, keyword)]
    if keyword == "LUTDescriptor" and len(words) < 3:
        raise HeaderError("A lookup table of the header has no valid descriptor.")
    return words
