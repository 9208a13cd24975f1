"""Which fragments of compressed pixel data make up one frame (DICOM PS3.5 A.4), whatever the offset tables say.

An offset table is a help that writers get wrong (zeros, fragments instead of frames), so it decides only where nothing
else does: a JPEG or JPEG 2000 codestream shows by its marker where it begins, and frames without a marker need no table
where there is one fragment for each. A frame that cannot be told from its neighbors is refused; another frame's pixels
are never shown for it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.encaps import generate_fragments, parse_fragments

from kdlight.images.errors import HeaderError, TruncatedError

_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
"""How the frames of JPEG and JPEG-LS, of JPEG 2000, and of JPEG 2000 inside a JP2 file begin."""
_ITEM = b"\xfe\xff\x00\xe0"


@dataclass(frozen=True, slots=True)
class Fragment:
    """One item of the pixel data; `offset` counts from the first item after the basic offset table, as tables do."""

    offset: int
    data: bytes


def is_encapsulated(value: bytes) -> bool:
    """Whether the pixel data begins with an item, as compressed pixel data does."""
    return value.startswith(_ITEM)


def frame_bytes(value: bytes, frame: int, frames: int, extended: bytes | None = None) -> bytes:
    """The bytes of one compressed frame, its fragments joined.

    `extended`: the Extended Offset Table (7FE0,0001). Raises TruncatedError where there are fewer fragments than
    frames, HeaderError where the frames cannot be told apart.
    """
    try:
        table, fragments = _items(value)
    except (ValueError, struct.error):
        raise TruncatedError(f"The compressed data of frame {frame + 1} is missing or damaged.") from None
    if not fragments:
        raise TruncatedError("The compressed pixel data is empty. Copy the file again.")
    firsts = _first_fragments(fragments, frames, (_numbers(extended or b"", "Q"), table))
    bounds = [*firsts, len(fragments)]
    return b"".join(f.data for f in fragments[bounds[frame] : bounds[frame + 1]])


def _items(value: bytes) -> tuple[Sequence[int], list[Fragment]]:
    """The basic offset table and the fragments that hold bytes. Some writers leave the table's item out."""
    _, positions = parse_fragments(value)
    contents = list(generate_fragments(value))
    table: Sequence[int] = ()
    if contents and not contents[0].startswith(_STARTS):
        table = _numbers(contents[0], "I")
        positions, contents = positions[1:], contents[1:]
    start = positions[0] if positions else 0
    pairs = zip(positions, contents, strict=True)
    return table, [Fragment(position - start, content) for position, content in pairs if content]


def _first_fragments(fragments: Sequence[Fragment], frames: int, tables: Sequence[Sequence[int]]) -> list[int]:
    """The number of the first fragment of each frame."""
    if frames == 1:
        return [0]
    if len(fragments) < frames:
        raise TruncatedError(
            f"The header describes {frames} frames, but the pixel data holds {len(fragments)}. Copy the file again."
        )
    begun = [i for i, fragment in enumerate(fragments) if fragment.data.startswith(_STARTS)]
    if begun[:1] == [0] and len(begun) == frames:
        return begun
    if not begun and len(fragments) == frames:
        return list(range(frames))
    numbers = {fragment.offset: i for i, fragment in enumerate(fragments)}
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
