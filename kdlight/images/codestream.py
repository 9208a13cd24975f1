"""What a compressed frame says of itself, read before a decoder sees it: size, precision, components, whether it ends.

JPEG and JPEG-LS: ITU-T T.81 B.2.2, T.87 C.2.2. JPEG 2000: T.800 A.5.1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from kdlight.images.errors import CodecError, HeaderError, TruncatedError
from kdlight.images.header import PixelHeader


@dataclass(frozen=True, slots=True)
class Codestream:
    """`kind` is jpeg, lossless (JPEG SOF3), jpegls or jpeg2000."""

    kind: str
    rows: int
    columns: int
    components: int
    precision: int
    signed: bool = False
    rgb: bool = False
    """JPEG: an Adobe marker or the component names say that no color transform was made."""
    ybr: bool = False
    """JPEG: an Adobe or JFIF marker says that the components are YCbCr."""


_JPEG_FRAMES = {0xC0: "jpeg", 0xC1: "jpeg", 0xC2: "jpeg", 0xC3: "lossless", 0xF7: "jpegls"}
_ALONE = {0x01, *range(0xD0, 0xD9)}


def bare(data: bytes) -> bytes:
    """The codestream itself where a writer put a whole JP2 file into the frame (T.800 I.5), else the data."""
    if data[4:12] != b"jP  \r\n\x87\n":
        return data
    at = 0
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"jp2c":
            return data[at + 8 : at + length if length else len(data)]
        at += max(length, 8)
    raise CodecError("The frame is a JP2 file without a picture in it.")


def codestream(data: bytes) -> Codestream:
    """Read the frame's own header. Raises CodecError where there is none, TruncatedError where it has no end."""
    if data[:4] == b"\xff\x4f\xff\x51":
        return _jpeg2000(data)
    if data[:2] == b"\xff\xd8":
        return _jpeg(data)
    raise CodecError("The compressed frame begins with no JPEG or JPEG 2000 marker; it is damaged.")


def check(found: Codestream, header: PixelHeader) -> None:
    """Raises HeaderError where the frame and the header of the file contradict each other."""
    if (found.rows, found.columns) != (header.rows, header.columns):
        raise HeaderError(
            f"The compressed frame is {found.columns} x {found.rows} pixels, but the header says "
            f"{header.columns} x {header.rows}; the file is damaged."
        )
    if found.components != header.samples:
        raise HeaderError(
            f"The compressed frame has {found.components} components, but the header says {header.samples}."
        )
    if found.precision > max(header.allocated, 8):
        raise HeaderError(
            f"The compressed frame has {found.precision} bits per sample, but the header allows {header.allocated}."
        )


def _jpeg2000(data: bytes) -> Codestream:
    try:
        width, height, left, top = struct.unpack_from(">4I", data, 8)
        (components,) = struct.unpack_from(">H", data, 40)
        size = data[42]
    except (struct.error, IndexError):
        raise TruncatedError("The JPEG 2000 frame ends inside its header. Copy the file again.") from None
    _check_end(data, "JPEG 2000")
    return Codestream("jpeg2000", height - top, width - left, components, (size & 0x7F) + 1, bool(size & 0x80))


def _jpeg(data: bytes) -> Codestream:
    adobe, jfif = None, False
    for marker, segment in _segments(data):
        if marker == 0xEE and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe = segment[11]
        elif marker == 0xE0 and segment.startswith(b"JFIF"):
            jfif = True
        elif marker in _JPEG_FRAMES:
            if len(segment) < 6:
                break
            precision, rows, columns, components = struct.unpack_from(">BHHB", segment)
            names = bytes(segment[6::3][:components])
            rgb = adobe == 0 or names in (b"RGB", b"rgb")
            ybr = not rgb and (adobe == 1 or jfif)
            _check_end(data, "JPEG")
            return Codestream(_JPEG_FRAMES[marker], rows, columns, components, precision, False, rgb, ybr)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            raise CodecError("The JPEG frame uses arithmetic coding or a hierarchy, which no decoder here reads.")
    raise CodecError("The JPEG frame has no frame header; it is damaged.")


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment up to the first scan."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise CodecError("The JPEG frame is damaged in its header.")
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def _check_end(data: bytes, name: str) -> None:
    """A stream ends in an end marker, bar padding; decoders would paint the missing rest gray."""
    if not data.rstrip(b"\0\xff ").endswith(b"\xff\xd9"):
        raise TruncatedError(f"The {name} frame has no end marker, so a part of it is missing. Copy the file again.")
