"""PALETTE COLOR to RGB: lookup tables of the header, plain and segmented (DICOM PS3.3 C.7.6.3.1.5, C.7.9.2).

pydicom expands segmented tables; plain ones it gets wrong in big endian files, at odd lengths and at negative indices.
"""

from __future__ import annotations

import struct

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from kdlight.images.errors import HeaderError
from kdlight.images.header import PixelHeader
from kdlight.images.luts import first_mapped, packed_bytes

_COLORS = ("Red", "Green", "Blue")


def palette_rgb(stored: np.ndarray, ds: Dataset, header: PixelHeader, little: bool) -> np.ndarray:
    """Stored indices (rows, columns) to uint8 (rows, columns, 3). Raises HeaderError where the palette is broken."""
    count, word = _descriptor(ds, little)
    first = first_mapped(word, count, (header.lowest, header.highest))
    table = _table(ds, count, little)
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


def _table(ds: Dataset, count: int, little: bool) -> np.ndarray:
    """(count, 3) integers."""
    plain = [ds.get(f"{color}PaletteColorLookupTableData") for color in _COLORS]
    segments = [ds.get(f"Segmented{color}PaletteColorLookupTableData") for color in _COLORS]
    if all(isinstance(data, bytes) for data in plain):
        columns = [_entries(data, count, little) for data in plain]
    elif all(isinstance(data, bytes) for data in segments):
        columns = _expanded(segments, count, little)
    else:
        raise HeaderError("The header has no palette, so the colors are unknown.")
    shortest = min(len(column) for column in columns)
    if shortest < count:
        raise HeaderError(f"A palette of the header has {shortest} entries; {count} were expected.")
    return np.stack([column[:count] for column in columns], axis=-1).astype(np.int64)


def _entries(data: bytes, count: int, little: bool) -> np.ndarray:
    """8-bit entries, packed in words, where there are fewer bytes than two for each; else 16-bit entries."""
    if len(data) < 2 * count:
        return packed_bytes(data, little)
    return np.frombuffer(data[: 2 * count], "<u2" if little else ">u2")


def _expanded(segments: list[bytes], count: int, little: bool) -> list[np.ndarray]:
    """Segments of 16-bit words to entries, whatever depth the descriptor names (PS3.3 C.7.9.2)."""
    palette = Dataset()
    palette.file_meta = FileMetaDataset()
    palette.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    palette.RedPaletteColorLookupTableDescriptor = [count & 0xFFFF, 0, 16]
    for color, data in zip(_COLORS, segments, strict=True):
        setattr(palette, f"Segmented{color}PaletteColorLookupTableData", data[: len(data) // 2 * 2])
    try:
        return list(apply_color_lut(np.arange(count), palette).T)
    except Exception:  # noqa: BLE001  ValueError, IndexError, ZeroDivisionError, RecursionError, struct.error
        raise HeaderError("A segmented palette of the header is broken.") from None
