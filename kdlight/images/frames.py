"""The bytes of one frame in the pixel data, and samples that are stored as whole words (DICOM PS3.5 chapter 8, A.4).

An offset table is a help that writers get wrong (zeros, fragments instead of frames), and pydicom's `get_frame` trusts
it. Here it decides only where nothing else does: a JPEG or JPEG 2000 codestream shows by its marker where it begins,
and frames without a marker need no table where there is one fragment for each. A frame that cannot be told from its
neighbors is refused; another frame's pixels are never shown for it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydicom.encaps import generate_fragments, parse_fragments
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import unpack_bits
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from kdlight.images.errors import HeaderError, TruncatedError
from kdlight.images.header import PixelHeader

_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
"""How the frames of JPEG and JPEG-LS, of JPEG 2000, and of JPEG 2000 inside a JP2 file begin."""


def frame_bytes(value: bytes, frame: int, frames: int, extended: bytes = b"") -> bytes:
    """The bytes of one compressed frame, its fragments joined.

    `extended`: the Extended Offset Table (7FE0,0001). Raises TruncatedError where there are fewer fragments than
    frames, HeaderError where the frames cannot be told apart.
    """
    try:
        _, positions = parse_fragments(value)
        contents = list(generate_fragments(value))
    except (ValueError, struct.error):
        raise TruncatedError(f"The compressed data of frame {frame + 1} is missing or damaged.") from None
    basic = b""
    if contents and not contents[0].startswith(_STARTS):  # some writers leave the table's item out
        basic, contents, positions = contents[0], contents[1:], positions[1:]
    fragments = {at - positions[0]: content for at, content in zip(positions, contents, strict=True) if content}
    if not fragments:
        raise TruncatedError("The compressed pixel data is empty. Copy the file again.")
    bounds = _first_fragments(fragments, frames, (_numbers(extended, "Q"), _numbers(basic, "I")))
    return b"".join(list(fragments.values())[slice(*[*bounds, None][frame : frame + 2])])


def _first_fragments(fragments: dict[int, bytes], frames: int, tables: Sequence[Sequence[int]]) -> list[int]:
    """The number of the first fragment of each frame. `fragments`: by their offset from the first one."""
    if frames == 1:
        return [0]
    if len(fragments) < frames:
        raise TruncatedError(
            f"The header describes {frames} frames, but the pixel data holds {len(fragments)}. Copy the file again."
        )
    begun = [i for i, content in enumerate(fragments.values()) if content.startswith(_STARTS)]
    if begun[:1] == [0] and len(begun) == frames:
        return begun
    if not begun and len(fragments) == frames:
        return list(range(frames))
    numbers = {offset: i for i, offset in enumerate(fragments)}
    for table in tables:
        firsts = [numbers.get(offset, -1) for offset in table]
        if len(firsts) == frames and firsts[0] == 0 and firsts == sorted(set(firsts)):
            return firsts
    raise HeaderError(
        f"The pixel data holds {len(fragments)} fragments for {frames} frames and no offset table that fits them, so "
        "the frames cannot be told apart."
    )


def _numbers(data: bytes, kind: str) -> tuple[int, ...]:
    size = struct.calcsize(kind)
    return struct.unpack(f"<{len(data) // size}{kind}", data[: len(data) // size * size])


def native_frame(data: bytes, header: PixelHeader, frame: int, little: bool = True, words: bool = False) -> np.ndarray:
    """Stored values (rows, columns) or (rows, columns, 3) of one uncompressed frame; only its bytes are touched.

    `words`: the element's VR is OW, which swaps pairs of 8-bit samples in big endian files. The header is checked here
    first: pydicom would read on into the next frame, and refuses a halved label on samples that are not halved.
    Raises TruncatedError where the element is shorter than the header says, HeaderError where it is far longer.
    """
    bits = header.rows * header.columns * header.samples * header.allocated
    photometric = "MONOCHROME2" if header.samples == 1 else "YBR_FULL"
    if header.photometric.endswith("_422") and len(data) - _length(bits, header) not in (0, 1):
        bits, photometric = bits // 3 * 2, "YBR_FULL_422"
        if header.columns % 2:
            raise HeaderError(f"{header.photometric} halves the color of pairs, but {header.columns} columns are odd.")
    _check_length(len(data), bits, header)
    if header.allocated == 1:  # frames need not begin on a byte, where pydicom reads one too few
        first = bits * frame
        packed = data[first // 8 : (first + bits + 7) // 8]
        return np.asarray(unpack_bits(packed))[first % 8 :][:bits].reshape(header.rows, header.columns)
    syntax = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    padded = data + b"\0" * (len(data) % 2)
    options = layout(replace(header, planar=header.planar and photometric != "YBR_FULL_422"), photometric)
    options |= {"pixel_vr": "OW" if words else "OB", "view_only": True}
    samples: np.ndarray = get_decoder(syntax).as_array(padded, index=frame, raw=True, **options)[0]
    return samples


def layout(header: PixelHeader, photometric: str) -> Any:
    """What pydicom's decoders are told of the pixels; which bits of a sample count is seen to afterwards."""
    return {
        "rows": header.rows,
        "columns": header.columns,
        "samples_per_pixel": header.samples,
        "photometric_interpretation": photometric,
        "planar_configuration": int(header.planar),
        "bits_allocated": header.allocated,
        "bits_stored": header.allocated,
        "pixel_representation": int(header.signed),
        "number_of_frames": header.frames,
        "pixel_keyword": header.keyword,
    }


def _length(bits: int, header: PixelHeader) -> int:
    """Bytes of all frames, of `bits` each."""
    return (bits * header.frames + 7) // 8


def _check_length(actual: int, bits: int, header: PixelHeader) -> None:
    expected, frame = _length(bits, header), (bits + 7) // 8
    if actual < expected:
        raise TruncatedError(
            f"The pixel data is {actual} bytes long; the header describes {expected}. Copy the file again."
        )
    if actual - expected >= max(frame, 2) and header.frames == 1 and actual % frame < 2:
        raise HeaderError(
            f"The pixel data is {actual // frame} times as long as the header describes, so the header is wrong."
        )


def used_bits(stored: np.ndarray, header: PixelHeader) -> np.ndarray:
    """Keep the bits that count (overlays may live in the others) and extend the sign over the rest.

    pydicom knows no High Bit, so it would take the lowest bits instead.
    """
    size = 8 * stored.dtype.itemsize
    if header.allocated == 1 or not header.integer or (header.stored == size and header.high == size - 1):
        return stored
    return bit_field(stored.astype(np.dtype(f"u{size // 8}")), header.high + 1, header.stored, header.signed)


def bit_field(raw: np.ndarray, top: int, count: int, signed: bool) -> np.ndarray:
    """The `count` bits below bit `top` of unsigned words, as numbers of the same size; two's complement if `signed`."""
    size = 8 * raw.dtype.itemsize
    target = np.dtype(f"{'i' if signed else 'u'}{size // 8}")
    return (raw << (size - top)).view(target) >> (size - count)
