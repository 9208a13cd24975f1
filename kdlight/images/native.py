"""Uncompressed pixels of one frame, by DICOM PS3.5 chapter 8 and annex D."""

from __future__ import annotations

import numpy as np

from kdlight.images.errors import HeaderError, TruncatedError
from kdlight.images.header import PixelHeader


def native_frame(data: bytes, header: PixelHeader, frame: int, little: bool, words: bool) -> np.ndarray:
    """Stored values (rows, columns) or (rows, columns, 3) of one frame; only its bytes are touched.

    `words`: the element's VR is OW, which swaps pairs of 8-bit samples in big endian files.
    Raises TruncatedError where the element is shorter than the header says, HeaderError where it is far longer.
    """
    samples = header.rows * header.columns * header.samples
    halved = header.photometric.endswith("_422") and not _is_full(len(data), samples * header.allocated, header)
    if halved:
        samples = samples // 3 * 2
    bits = samples * header.allocated
    _check_length(len(data), bits, header)
    if header.allocated == 1:
        return unpack_bits(data, bits * frame, header)
    swap = words and not little and header.allocated == 8
    start, size = bits // 8 * frame, bits // 8
    raw = _swapped(data, start, size) if swap else data[start : start + size]
    stored = np.frombuffer(raw, _dtype(header, little))
    if halved:
        return _expand_422(stored, header)
    return shape_samples(stored, header, header.planar)


def unpack_bits(data: bytes, first: int, header: PixelHeader) -> np.ndarray:
    """Packed single bits, the lowest first, from bit `first` on; frames need not begin on a byte."""
    count = header.rows * header.columns
    packed = np.frombuffer(data[first // 8 : (first + count + 7) // 8], np.uint8)
    bits = np.unpackbits(packed, bitorder="little")[first % 8 :][:count]
    return bits.reshape(header.rows, header.columns)


def shape_samples(stored: np.ndarray, header: PixelHeader, planar: bool) -> np.ndarray:
    """A flat run of samples to (rows, columns) or (rows, columns, 3)."""
    if header.samples == 1:
        return stored.reshape(header.rows, header.columns)
    if planar:
        return stored.reshape(3, header.rows, header.columns).transpose(1, 2, 0)
    return stored.reshape(header.rows, header.columns, 3)


def used_bits(stored: np.ndarray, header: PixelHeader) -> np.ndarray:
    """Keep the bits that count (overlays may live in the others) and extend the sign over the rest."""
    size = 8 * stored.dtype.itemsize
    if header.allocated == 1 or not header.integer or (header.stored == size and header.high == size - 1):
        return stored
    return bit_field(stored.astype(np.dtype(f"u{size // 8}")), header.high + 1, header.stored, header.signed)


def bit_field(raw: np.ndarray, top: int, count: int, signed: bool) -> np.ndarray:
    """The `count` bits below bit `top` of unsigned words, as numbers of the same size; two's complement if `signed`."""
    size = 8 * raw.dtype.itemsize
    target = np.dtype(f"{'i' if signed else 'u'}{size // 8}")
    return (raw << (size - top)).view(target) >> (size - count)


def _is_full(actual: int, bits: int, header: PixelHeader) -> bool:
    """Whether there are three samples for every pixel under a label that says two: some writers forget to halve."""
    expected = (bits * header.frames + 7) // 8
    return actual - expected in (0, 1)


def _check_length(actual: int, bits: int, header: PixelHeader) -> None:
    expected = (bits * header.frames + 7) // 8
    if actual < expected:
        raise TruncatedError(
            f"The pixel data is {actual} bytes long; the header describes {expected}. Copy the file again."
        )
    frame = (bits + 7) // 8
    if actual - expected >= max(frame, 2) and header.frames == 1 and actual % frame < 2:
        raise HeaderError(
            f"The pixel data is {actual // frame} times as long as the header describes, so the header is wrong."
        )


def _dtype(header: PixelHeader, little: bool) -> np.dtype:
    kind = ("i" if header.signed else "u") if header.integer else "f"
    return np.dtype(f"{'<' if little else '>'}{kind}{header.allocated // 8}")


def _swapped(data: bytes, start: int, size: int) -> bytes:
    """Bytes [start, start + size) of the stream whose pairs stand in swapped order."""
    even = start - start % 2
    pairs = np.frombuffer(data[even : start + size + (start + size) % 2], ">u2")
    return pairs.astype("<u2").tobytes()[start - even :][:size]


def _expand_422(stored: np.ndarray, header: PixelHeader) -> np.ndarray:
    """Y1 Y2 Cb Cr to Y1 Cb Cr, Y2 Cb Cr (PS3.3 C.7.6.3.1.2)."""
    if header.columns % 2:
        raise HeaderError(f"{header.photometric} halves the color of pairs, but there are {header.columns} columns.")
    y1, y2, cb, cr = stored.reshape(-1, 4).T
    pairs = np.stack([y1, cb, cr, y2, cb, cr], axis=1)  # (pairs, 6)
    return pairs.reshape(header.rows, header.columns, 3)
