"""PALETTE COLOR to RGB: lookup tables of the header, plain and segmented (DICOM PS3.3 C.7.6.3.1.5, C.7.9.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset

from kdlight.images.errors import HeaderError
from kdlight.images.header import PixelHeader
from kdlight.images.luts import first_mapped, packed_bytes

_COLORS = ("Red", "Green", "Blue")


def palette_rgb(stored: np.ndarray, ds: Dataset, header: PixelHeader, little: bool) -> np.ndarray:
    """Stored indices (rows, columns) to uint8 (rows, columns, 3). Raises HeaderError where the palette is broken."""
    count, word = _descriptor(ds, little)
    first = first_mapped(word, count, (header.lowest, header.highest))
    table = np.stack([_table(ds, color, count, little) for color in _COLORS], axis=-1)  # (count, 3)
    wide = table.max() > 256  # some files store 8-bit entries and call them 16; 256 is 255, rounded
    shown = (np.rint(table * (255 / 65535)) if wide else np.minimum(table, 255)).astype(np.uint8)
    rgb = np.empty((*stored.shape, 3), np.uint8)
    for row, indices in enumerate(stored):
        rgb[row] = shown[np.clip(indices.astype(np.int64) - first, 0, count - 1)]
    return rgb


def _descriptor(ds: Dataset, little: bool) -> tuple[int, int]:
    """Number of entries and first value mapped, as words: of red, which holds for all."""
    value = ds.get("RedPaletteColorLookupTableDescriptor")
    if isinstance(value, bytes) and len(value) >= 6:
        value = struct.unpack("<3H" if little else ">3H", value[:6])
    try:
        count, first, _ = (int(v) & 0xFFFF for v in value)
    except (TypeError, ValueError):
        raise HeaderError("The header has no palette, so the colors are unknown.") from None
    return count or 65536, first


def _table(ds: Dataset, color: str, count: int, little: bool) -> np.ndarray:
    data = ds.get(f"{color}PaletteColorLookupTableData")
    segments = ds.get(f"Segmented{color}PaletteColorLookupTableData")
    if isinstance(data, bytes):
        values = _entries(data, count, little)
    elif isinstance(segments, bytes):
        values = np.array(_expand(_entries(segments, 0, little).tolist()), np.int64)
    else:
        raise HeaderError("The header has no palette, so the colors are unknown.")
    if len(values) < count:
        raise HeaderError(f"The {color.lower()} palette has {len(values)} entries; {count} were expected.")
    return values[:count]


def _entries(data: bytes, count: int, little: bool) -> np.ndarray:
    """8-bit entries, packed in words, where there are as many bytes as entries; else 16-bit entries."""
    words = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if little else ">u2")
    if count and len(data) < 2 * count:
        return packed_bytes(data, little).astype(np.int64)
    return words.astype(np.int64)


def _expand(words: list[int]) -> list[int]:
    """Segments of 16-bit words to entries."""
    values: list[int] = []
    starts = list(_segments(words))
    for kind, length, at in starts:
        values += _segment(words, kind, length, at, values)
        if len(values) > 65536:
            raise HeaderError("A segmented palette of the header is too long.")
    return values


def _segments(words: list[int]) -> Iterator[tuple[int, int, int]]:
    """Kind, length and position of the values of each segment."""
    at = 0
    while at + 1 < len(words):
        kind, length = words[at], words[at + 1]
        yield kind, length, at + 2
        at += 2 + {0: length, 1: 1, 2: 2}.get(kind, len(words))


def _segment(words: list[int], kind: int, length: int, at: int, before: list[int], nested: bool = False) -> list[int]:
    """0 discrete: the values; 1 linear: a ramp from the last value; 2 indirect: `length` segments from elsewhere."""
    if at > len(words) - (length if kind == 0 else kind) or kind > 2 or (kind == 2 and nested):
        raise HeaderError("A segmented palette of the header is broken.")
    if kind == 0:
        return words[at : at + length]
    if kind == 1:
        if not before:
            raise HeaderError("A segmented palette of the header begins with a ramp from nowhere.")
        ramp = np.rint(np.linspace(before[-1], words[at], length + 1)[1:])
        return [int(v) for v in ramp]
    values: list[int] = []
    offset = (words[at] | words[at + 1] << 16) // 2
    for count, (inner, size, place) in enumerate(_segments(words[offset:])):
        if count == length:
            break
        values += _segment(words[offset:], inner, size, place, before + values, nested=True)
    return values
