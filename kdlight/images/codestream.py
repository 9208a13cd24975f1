"""What a compressed frame says of itself, read before a decoder sees it: size, precision, colors, where it ends.

JPEG and JPEG-LS: ITU-T T.81 B.2.2, T.87 C.2.2. JPEG 2000: T.800 A.5.1.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kdlight.images.errors import CodecError, HeaderError, TruncatedError, UnsupportedError
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
    """The components are RGB once decoded: an Adobe marker or their names say so; JPEG 2000: the decoder undoes the
    component transform that the coding style names, and turns subsampled YCbCr."""
    ybr: bool = False
    """The components are YCbCr once decoded: an Adobe or JFIF marker says so, or their subsampling shows it."""
    lossless: bool = False
    """The decoder returns exactly what was encoded. False for JPEG 2000 with the irreversible wavelet."""
    mixed: bool = False
    """JPEG 2000: the components differ in precision, sign or grid in a way that the decoder does not even out."""
    restarts: bool = False
    """JPEG: the scan is in intervals, each of which can be missing by itself."""
    end: int | None = None
    """Where the data end and the end marker begins; what follows it is no part of the picture. None where no marker
    comes, unless the tiles of JPEG 2000, which say how long they are, are all there."""


_JPEG_FRAMES = {0xC0: "jpeg", 0xC1: "jpeg", 0xC2: "jpeg", 0xC3: "lossless", 0xF7: "jpegls"}
_ALONE = {0x01, *range(0xD0, 0xD9)}
_SCAN, _RESTARTS, _END = 0xDA, 0xDD, 0xD9
_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
"""A marker within or after entropy-coded data: no stuffed byte (JPEG: FF 00, JPEG-LS: below FF 80), no restart."""
_COD, _SOT = 0x52, 0x90
_HALVED = (((1, 1), (2, 1), (2, 1)), ((1, 1), (2, 2), (2, 2)))
"""Grids of JPEG 2000 components, (across, down): 4:2:2 and 4:2:0, which only YCbCr has; OpenJPEG makes it RGB."""
_TILE_PART, _EOC = b"\xff\x90", b"\xff\xd9"


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


def check(stream: Codestream, header: PixelHeader) -> None:
    """Raises HeaderError where the frame and the header of the file contradict each other."""
    if (stream.rows, stream.columns) != (header.rows, header.columns):
        raise HeaderError(
            f"The compressed frame is {stream.columns} x {stream.rows} pixels, but the header says "
            f"{header.columns} x {header.rows}; the file is damaged."
        )
    if stream.components != header.samples:
        raise HeaderError(
            f"The compressed frame has {stream.components} components, but the header says {header.samples}."
        )
    if stream.mixed:
        raise UnsupportedError(
            "The components of the JPEG 2000 frame differ in depth, sign or grid, so no picture is made of them."
        )
    if stream.precision > max(header.allocated, 8):
        raise HeaderError(
            f"The compressed frame has {stream.precision} bits per sample, but the header allows {header.allocated}."
        )


def _jpeg2000(data: bytes) -> Codestream:
    try:
        width, height, left, top, tiles_width, tiles_height, tiles_left, tiles_top = struct.unpack_from(">8I", data, 8)
        (components,) = struct.unpack_from(">H", data, 40)
        sizes = [struct.unpack_from("BBB", data, 42 + 3 * i) for i in range(min(components, 3))]
        depth, (style, first) = sizes[0][0], _main_header(data)
    except (struct.error, IndexError):
        raise TruncatedError("The JPEG 2000 frame ends inside its header. Copy the file again.") from None
    if not tiles_width or not tiles_height:
        raise CodecError("The JPEG 2000 frame is damaged: its tiles have no size.")
    grids = tuple(size[1:] for size in sizes)
    across, down = -(-(width - tiles_left) // tiles_width), -(-(height - tiles_top) // tiles_height)
    return Codestream(
        "jpeg2000",
        height - top,
        width - left,
        components,
        (depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        rgb=style[4] == 1 or grids in _HALVED,
        lossless=style[9] == 1,
        mixed=len({size[0] for size in sizes}) > 1 or grids not in (((1, 1),) * len(sizes), *_HALVED),
        end=_jpeg2000_end(data, first, across * down),
    )


def _main_header(data: bytes) -> tuple[bytes, int]:
    """Default coding style (T.800 A.6.1: component transform at 4, wavelet at 9) and start of the tile-parts."""
    style = b""
    for marker, segment, end in segments(data):
        if marker == _COD:
            style = segment
        elif marker == _SOT and len(style) >= 10:
            return style, end - len(segment) - 4
    raise IndexError  # one of them is missing


def _jpeg2000_end(data: bytes, at: int, tiles: int) -> int | None:
    """Where the last tile-part ends, if an end marker follows or every tile is whole without one (T.800 A.4.2)."""
    seen = set()
    while data[at : at + 2] == _TILE_PART and at + 12 <= len(data):
        tile, length = struct.unpack_from(">HI", data, at + 4)
        seen.add(tile)
        at = at + length if length >= 14 else data.find(_EOC, at + 12)
        if at < 0 or at > len(data):
            return None
    whole = len(seen) == tiles and data[at - 1] and data[at - 2 : at] != _EOC  # zeros may lie over lost data
    return at if _EOC in data[at : at + 4] or (whole and not any(data[at:])) else None


def _jpeg(data: bytes) -> Codestream:
    adobe, jfif, restarts, frame = None, False, False, ("", b"")
    for marker, segment, end in segments(data):
        if marker == 0xEE and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe = segment[11]
        elif marker == 0xE0 and segment.startswith(b"JFIF"):
            jfif = True
        elif marker == _RESTARTS:
            restarts = any(segment)
        elif marker in _JPEG_FRAMES:
            frame = (_JPEG_FRAMES[marker], segment)
        elif marker == _SCAN and len(frame[1]) >= 6:
            stream = _jpeg_frame(*frame, segment, adobe, jfif)
            return replace(stream, restarts=restarts, end=_jpeg_end(data, end))
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            raise CodecError("The JPEG frame uses arithmetic coding or a hierarchy, which no decoder here reads.")
    raise CodecError("The JPEG frame has no frame header and scan; it is damaged.")


def _jpeg_frame(kind: str, header: bytes, scan: bytes, adobe: int | None, jfif: bool) -> Codestream:
    """`header` and `scan`: contents of the frame header and of the first scan's header."""
    precision, rows, columns, components = struct.unpack_from(">BHHB", header)
    names, sampling = bytes(header[6::3][:components]), set(header[7::3][:components])
    near = scan[1 + 2 * scan[0]] if scan and len(scan) > 1 + 2 * scan[0] else 0  # JPEG-LS: largest error
    rgb = adobe == 0 or names in (b"RGB", b"rgb")
    ybr = not rgb and (adobe == 1 or jfif or len(sampling) > 1)
    lossless = kind == "lossless" or (kind == "jpegls" and near == 0)
    return Codestream(kind, rows, columns, components, precision, rgb=rgb, ybr=ybr, lossless=lossless)


def _jpeg_end(data: bytes, at: int) -> int | None:
    """Where the end marker is that follows the scans from `at` on; None where there is none."""
    while (match := _MARKER.search(data, at)) is not None:
        at = match.end()
        if data[at - 1] == _END:
            return match.start()
        if data[at - 1] not in _ALONE:
            at += int.from_bytes(data[at : at + 2], "big")
    return None


def segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, content and end of each segment of the header, up to that of the first scan or tile."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise CodecError("The compressed frame is damaged in its header.")
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        at += 2 + length
        yield marker, data[at - length + 2 : at], at
