"""Where a DICOM file's data set begins, its encoding and nesting, and whether it is whole (PS3.5 and PS3.10 chapter 7).

pydicom reads the values; this walk over tags and lengths comes first, so that a hostile or broken file gets its true
reason and no parser recurses into it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from pydicom._dicom_dict import DicomDictionary

from kdlight.images.errors import CodecError, TooBigError, TruncatedError
from kdlight.images.limits import LIMITS, Limits, check_parts
from kdlight.images.sniff import VRS

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"

_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations with two reserved bytes and a length of four."""
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010
_SEQUENCES = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")
"""Tags of what is a sequence also where no value representation says so."""


@dataclass(frozen=True, slots=True)
class Structure:
    """`body` is the data set without preamble and file meta, inflated where it was deflated."""

    body: bytes
    syntax: str | None
    """Transfer syntax UID; None where the file has none."""
    implicit: bool
    little: bool
    whole: bool = True
    """False where an element or sequence goes on past the end of the file, and the pixel data does not end before."""
    pixels_end: int | None = None
    """Where the pixel data of the image itself ends in `body`; what follows is not needed for the picture."""


def structure(data: bytes, limits: Limits = LIMITS) -> Structure:
    """Find the data set. Raises TooBigError, TruncatedError or CodecError (deflated data that cannot be inflated)."""
    start = 132 if data[128:132] == b"DICM" else 0
    try:
        syntax, start = _meta(data, start, limits)
    except struct.error:
        raise TruncatedError("The file ends inside its first header: it is truncated. Copy the file again.") from None
    body = data[start:]
    if not body:
        raise TruncatedError("The file ends after its first header: it is truncated. Copy the file again.")
    if syntax == DEFLATED:
        body = _inflate(body, limits.inflated)
    implicit, little = _encoding(body, syntax)
    walk = _walk(body, implicit, little, limits)
    body, pixels_end = _mended(body, walk, little)
    if not walk.whole and pixels_end is not None:
        body = body[:pixels_end]
    return Structure(body, syntax, implicit, little, walk.whole or pixels_end is not None, pixels_end)


def _meta(data: bytes, position: int, limits: Limits) -> tuple[str | None, int]:
    """Transfer syntax and the position after the file meta group; a second one that writers copy in is passed over."""
    syntax, count = None, 0
    while data[position : position + 2] == b"\x02\0" and data[position + 4 : position + 6] in VRS:
        tag, _, length, value = _header(data, position, False, "<")
        if tag == 0x00020010 and not syntax:
            syntax = data[value : value + length].rstrip(b"\0 ").decode("ascii", "replace")
        position, count = value + length, count + 1
        check_parts(count, limits)
        if data[position + 128 : position + 132] == b"DICM":
            position += 132
    return syntax or None, position


def _encoding(body: bytes, syntax: str | None) -> tuple[bool, bool]:
    """Implicit, little endian: as declared, unless the first element plainly is otherwise."""
    explicit = body[4:6] in VRS
    if syntax is None:
        group = body[:2]
        return not explicit, int.from_bytes(group, "little") <= int.from_bytes(group, "big")
    return not explicit, syntax != BIG_ENDIAN


def _inflate(body: bytes, limit: int) -> bytes:
    """The deflated data set (PS3.5 A.5): a raw deflate stream; some writers add a zlib header."""
    for bits in (-zlib.MAX_WBITS, zlib.MAX_WBITS):
        engine = zlib.decompressobj(bits)
        try:
            inflated = engine.decompress(body, limit)
        except zlib.error:
            continue
        if not engine.eof and engine.unconsumed_tail:
            raise TooBigError(f"The deflated data set inflates to more than {limit // 1024**2} MB.")
        if not engine.eof:
            raise TruncatedError("The deflated data set ends before its stream does. Copy the file again.")
        return inflated
    raise CodecError("The deflated data set cannot be inflated; the file is damaged. Copy it again.")


def _header(data: bytes, at: int, implicit: bool, order: str) -> tuple[int, bytes, int, int]:
    """Tag, VR, length of the value, position of the value. Raises struct.error at the end of the data."""
    group, element = struct.unpack_from(order + "HH", data, at)
    tag = group << 16 | element
    if implicit or group == 0xFFFE:
        return tag, b"", struct.unpack_from(order + "I", data, at + 4)[0], at + 8
    vr = data[at + 4 : at + 6]
    if vr in _LONG:
        return tag, vr, struct.unpack_from(order + "I", data, at + 8)[0], at + 12
    if vr in VRS:
        return tag, vr, struct.unpack_from(order + "H", data, at + 6)[0], at + 8
    return tag, b"", struct.unpack_from(order + "I", data, at + 4)[0], at + 8


@dataclass(slots=True)
class _Walk:
    """What a walk over the data set met."""

    whole: bool = True
    strays: list[int] = field(default_factory=list)
    """Positions of delimiters that close nothing; none inside a sequence of stated length, which counts them."""
    unclosed: int | None = None
    """Where compressed pixel data ends after a whole fragment, but without its delimiter."""
    pixels_end: int | None = None
    """Where the pixel data of the outermost level ends, with its delimiter."""


def _mended(body: bytes, walk: _Walk, little: bool) -> tuple[bytes, int | None]:
    """The data set without stray delimiters and with a missing one after the pixels; where the pixels end in it."""
    bounds = [0, *(edge for at in walk.strays for edge in (at, at + 8)), len(body)]
    pieces = [body[a:b] for a, b in zip(bounds[::2], bounds[1::2], strict=True)]
    shift = -8 * sum(at < (walk.pixels_end or 0) for at in walk.strays)
    body = b"".join(pieces) if walk.strays else body
    end = walk.pixels_end + shift if walk.pixels_end is not None else None
    if walk.unclosed is not None and end is not None:
        delimiter = struct.pack("<HHI" if little else ">HHI", _SEQUENCE_END >> 16, _SEQUENCE_END & 0xFFFF, 0)
        body, end = body[:end] + delimiter + body[end:], end + 8
    return body, end


def _walk(body: bytes, implicit: bool, little: bool, limits: Limits) -> _Walk:
    """Not whole where something runs past the end. Raises TooBigError for too many elements or too deep sequences.

    What runs past the end of a sequence or item of stated length ends with it: no damage hides what comes after.
    """
    order = "<" if little else ">"
    walk, at, count, levels = _Walk(), 0, 0, [_Level(len(body), _UNDEFINED, implicit)]
    while True:
        count += 1
        check_parts(count, limits)
        while len(levels) > 1 and levels[-1].bound <= at:
            at = levels.pop().bound
        level = levels[-1]
        try:
            tag, vr, length, value = _header(body, at, level.implicit, order)
        except struct.error:
            return _finish(walk, levels, at)
        if tag in (_ITEM_END, _SEQUENCE_END):
            if (level.fragments and tag == _ITEM_END) or (not _close(levels) and len(levels) == 1):
                walk.strays.append(at)
            elif level.fragments and len(levels) == 1:
                walk.pixels_end = value
            at = value
            continue
        if level.fragments and tag != _ITEM and len(levels) == 2:
            levels.pop()
            walk.unclosed = walk.pixels_end = at
            continue
        end, opens = _UNDEFINED if length == _UNDEFINED else value + length, _opens(tag, vr, length, level)
        if level.bound == _UNDEFINED and len(body) < end != _UNDEFINED:
            walk.whole = False
            if not opens:
                return walk
        at = value if opens else end
        if tag == _PIXEL_DATA and length != _UNDEFINED and len(levels) == 1:
            walk.pixels_end = at
        if opens and length:
            levels.append(_Level(end, min(end, level.bound), level.implicit or vr == b"UN", tag == _PIXEL_DATA))
        if len(levels) > 2 * limits.depth + 1:
            raise TooBigError(f"Sequences are nested more than {limits.depth} deep; no image needs that.")


def _finish(walk: _Walk, levels: list[_Level], at: int) -> _Walk:
    """The end of the data: whole where nothing waits for more, or only the fragments for their delimiter."""
    if len(levels) == 2 and levels[-1].fragments:
        walk.unclosed = walk.pixels_end = at
    walk.whole = walk.whole and (len(levels) == 1 or walk.unclosed == at)
    return walk


@dataclass(frozen=True, slots=True)
class _Level:
    """One open sequence or item. `end` is where it stops, or _UNDEFINED where a delimiter stops it."""

    end: int
    bound: int
    """Where it stops at the latest, by its own length or that of a level around it; _UNDEFINED where none has one."""
    implicit: bool
    fragments: bool = False
    """Compressed pixel data: its items hold bytes, not elements."""


def _opens(tag: int, vr: bytes, length: int, level: _Level) -> bool:
    """Whether what follows the header is a level of its own rather than a value to step over."""
    if tag == _ITEM:
        return not level.fragments
    return vr == b"SQ" or length == _UNDEFINED or (vr in (b"", b"UN") and tag in _SEQUENCES)


def _close(levels: list[_Level]) -> bool:
    """A delimiter closes the innermost level that waits for one; False where none does, and it is a stray."""
    waiting = [i for i, level in enumerate(levels) if level.end == _UNDEFINED]
    if waiting:
        del levels[waiting[-1] :]
    return bool(waiting)
