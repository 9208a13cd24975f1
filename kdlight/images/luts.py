"""From stored to shown values: modality LUT, VOI LUT, windows (DICOM PS3.3 C.11.1, C.11.2), and YCbCr."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from kdlight.images.errors import HeaderError
from kdlight.images.header import PixelHeader, items, macro, number, numbers, text
from kdlight.modality import FUNCTIONS, Window

_CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
_LARGEST = float(np.finfo(np.float32).max)
_SAMPLE = 1_000_000


@dataclass(frozen=True, slots=True)
class Lut:
    """`values` (n,) integers; the first stands for the input `first`, inputs outside take the nearest end."""

    values: np.ndarray
    first: int
    bits: int


def modality_values(stored: np.ndarray, ds: Dataset, header: PixelHeader, frame: int, little: bool) -> np.ndarray:
    """Stored values to modality units, float32: by LUT where the file has one, else slope and intercept."""
    if tables := _tables(ds, "ModalityLUTSequence"):
        lut = _lut(tables[0], header.signed, little)
        return in_bands(stored, np.float32, lambda v: lut.values[np.clip(_wide(v) - lut.first, 0, len(lut.values) - 1)])
    place = macro(ds, frame, "PixelValueTransformationSequence")
    slope, intercept = number(place, "RescaleSlope"), number(place, "RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    if slope == 0:
        raise HeaderError("Rescale Slope is 0, which would make every pixel the same.")
    if (slope, intercept) == (1.0, 0.0):
        return _finite(stored)
    scaled = in_bands(stored, np.float32, lambda v: np.clip(_wide(v) * slope + intercept, -_LARGEST, _LARGEST))
    return _finite(scaled)


def hounsfield(ds: Dataset, header: PixelHeader, frame: int) -> bool:
    """Whether the units are HU: said so, or a CT image whose rescale type is left to its default (PS3.3 C.8.2.1)."""
    place = macro(ds, frame, "PixelValueTransformationSequence")
    said = text(place, "RescaleType")
    if said or _tables(ds, "ModalityLUTSequence"):
        return said == "HU"
    return str(ds.get("SOPClassUID")) in _CT_CLASSES and number(place, "RescaleIntercept") is not None


def file_windows(ds: Dataset, header: PixelHeader, frame: int) -> tuple[Window, ...]:
    """The windows of the file, without its own names for them: free text stays behind.

    `linear`, the default function, counts in whole units; for pixels that are floats it is taken as exact.
    """
    place = macro(ds, frame, "FrameVOILUTSequence")
    try:
        pairs = zip(numbers(place, "WindowCenter"), numbers(place, "WindowWidth"), strict=False)
        valid = list(dict.fromkeys((c, w) for c, w in pairs if w > 0))
    except HeaderError:
        return ()
    said = text(place, "VOILUTFunction").lower()
    function = said if said in FUNCTIONS else "linear" if header.integer else "linear_exact"
    names = ["file"] if len(valid) == 1 else [f"file {i + 1}" for i in range(len(valid))]
    return tuple(Window(c, w, n, function) for (c, w), n in zip(valid, names, strict=True))


def fitting_windows(pixels: np.ndarray, header: PixelHeader, padding: float | None = None) -> tuple[Window, ...]:
    """What fits the values: the whole scale of 1 to 8 bits as stored, else the bulk of the values, then all of them."""
    if header.integer and header.stored <= 8 and not header.signed and 0 <= pixels.min() <= pixels.max() < 256:
        top = float(max(2**header.stored - 1, pixels.max()))
        return (Window(top / 2, top, "full"),)
    sample = pixels.reshape(-1)[:: max(1, pixels.size // _SAMPLE)]
    kept = sample[sample != padding] if padding is not None else sample
    low, high = (float(v) for v in np.percentile(kept if kept.size else sample, (0.5, 99.5)))
    least, most = float(pixels.min()), float(pixels.max())
    bulk = Window((low + high) / 2, high - low, "fit") if high > low else None
    span = most - least
    every = Window((least + most) / 2, span if span > 0 else max(1.0, abs(most) * 1e-3), "range")
    return (bulk, every) if bulk is not None else (every,)


def voi_lut(ds: Dataset, pixels: np.ndarray, little: bool) -> tuple[np.ndarray, int] | None:
    """The file's VOI LUT as uint8 and the value of its first entry; None where it has none, or an unusable one."""
    for item in _tables(ds, "VOILUTSequence"):
        lut = _lut(item, bool(pixels.min() < 0), little)
        top = 2**lut.bits - 1
        if lut.values.max() > top:
            raise HeaderError(f"The VOI LUT holds values above its {lut.bits} bits, so the header is wrong.")
        return np.rint(lut.values * (255.0 / top)).astype(np.uint8), lut.first
    return None


def ybr_rgb(stored: np.ndarray, bits: int) -> np.ndarray:
    """YBR_FULL to RGB in the same unsigned depth (PS3.3 C.7.6.3.1.2, ITU-R BT.601)."""
    top, middle = 2**bits - 1, 2 ** (bits - 1)

    def convert(band: np.ndarray) -> np.ndarray:
        y, b, r = (band[..., i].astype(np.float64) for i in range(3))
        b, r = b - middle, r - middle
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


def _tables(ds: Dataset, sequence: str) -> list[Dataset]:
    """The first item that holds a table; some writers leave an empty item behind."""
    return [i for i in items(ds, sequence) if i.get("LUTDescriptor") or i.get("LUTData")][:1]


def _lut(item: Dataset, signed: bool, little: bool) -> Lut:
    order = "<" if little else ">"
    count, first, bits = _words(item, "LUTDescriptor", order)[:3]
    count = count or 65536
    raw = item.get("LUTData")
    if isinstance(raw, bytes) and len(raw) in (count, count + 1) and bits <= 8:
        values = np.frombuffer(raw[:count], np.uint8)
    else:
        values = np.asarray(_words(item, "LUTData", order)[:count], np.int64)
    if len(values) < count or not 1 <= bits <= 16:
        raise HeaderError(f"A lookup table of the header is broken: {len(values)} of {count} entries of {bits} bits.")
    return Lut(values.astype(np.int64), first - 65536 if signed and first >= 32768 else first, bits)


def _words(item: Dataset, keyword: str, order: str) -> list[int]:
    """16-bit words of an element whose VR may be US, SS or OW."""
    value = item.get(keyword)
    if isinstance(value, bytes):
        return list(struct.unpack(f"{order}{len(value) // 2}H", value[: len(value) // 2 * 2]))
    words = [int(v) for v in numbers(item, keyword)]
    if keyword == "LUTDescriptor" and len(words) < 3:
        raise HeaderError("A lookup table of the header has no valid descriptor.")
    return words
