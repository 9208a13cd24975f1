"""Which fragments make a frame, and where pixel data and data set end."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from imagecodecs import jpeg8_encode, jpegls_encode
from pydicom.encaps import encapsulate

from kdlight.images import read
from kdlight.images.errors import HeaderError, NoPixelsError, TruncatedError
from tests.images.conftest import make_compressed, make_dicom, make_frame

Make = Callable[..., bytes]
JPEG, JPEGLS, RLE, UNCOMPRESSED = (f"1.2.840.10008.1.2.{n}" for n in ("4.50", "4.80", "5", "1.98"))
FRAMES = np.random.default_rng(0).integers(0, 4000, (4, 32, 24)).astype(np.uint16)
BITS = {"BitsStored": 16, "NumberOfFrames": 4}
Frames = list[list[bytes]]


def even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


def cut(data: bytes, count: int) -> list[bytes]:
    """`data` in `count` fragments of even length."""
    size = -(-len(data) // count)
    size += size % 2
    return [even(data[at : at + size]) for at in range(0, len(data), size)]


STREAMS = [bytes(jpegls_encode(frame)) for frame in FRAMES]
GROUPS: dict[str, Frames] = {
    "one fragment each": [cut(stream, 1) for stream in STREAMS],
    "three fragments each": [cut(stream, 3) for stream in STREAMS],
    "one to four fragments": [cut(stream, 1 + number) for number, stream in enumerate(STREAMS)],
}


def starts(frames: Frames) -> list[int]:
    """Offsets of the frames, as a right table has them."""
    ends = np.cumsum([sum(8 + len(part) for part in frame) for frame in frames]).tolist()
    return [0, *ends[:-1]]


TABLES: dict[str, Callable[[Frames], list[int]]] = {
    "right": starts,
    "none": lambda _: [],
    "zeros": lambda frames: [0] * len(frames),
    "of fragments": lambda frames: starts([[part] for frame in frames for part in frame]),
    "beside": lambda frames: [start + 8 for start in starts(frames)],
    "backwards": lambda frames: starts(frames)[::-1],
    "far away": lambda _: [0, 1 << 30, 1 << 31, (1 << 32) - 1],
    "short": lambda frames: starts(frames)[:2],
    "one off": lambda frames: [0, 8 + len(frames[0][0]), *starts(frames)[2:]],
}


def items(frames: Frames, table: list[int] | None) -> bytes:
    """Pixel data of fragments; without the item of the table where that is None."""
    head = [] if table is None else [struct.pack(f"<{len(table)}I", *table)]
    parts = [*head, *(part for frame in frames for part in frame)]
    return b"".join(b"\xfe\xff\0\xe0" + struct.pack("<I", len(part)) + part for part in parts)


@pytest.mark.parametrize("frames", GROUPS.values(), ids=list(GROUPS))
@pytest.mark.parametrize("table", [*TABLES.values(), lambda _: None], ids=[*TABLES, "left out"])
def test_every_frame_is_its_own_under_any_basic_offset_table(
    frames: Frames, table: Callable[[Frames], list[int] | None]
) -> None:
    data = make_compressed(FRAMES, JPEGLS, items(frames, table(frames)), **BITS)
    for number, expected in enumerate(FRAMES):
        assert np.array_equal(read(data, number).pixels, expected)


@pytest.mark.parametrize("table", ["right", "zeros", "backwards", "one off"])
def test_every_frame_is_its_own_under_any_extended_offset_table(table: str) -> None:
    frames = GROUPS["one to four fragments"]
    lengths = struct.pack("<4Q", *(sum(map(len, frame)) for frame in frames))
    offsets = struct.pack("<4Q", *TABLES[table](frames))
    extended = {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}
    data = make_compressed(FRAMES, JPEGLS, items(frames, []), **extended, **BITS)
    for number, expected in enumerate(FRAMES):
        assert np.array_equal(read(data, number).pixels, expected)


def rle(frame: np.ndarray) -> list[bytes]:
    """16-bit RLE in two fragments, which no marker tells apart; a run of one byte for each."""
    planes = [frame.astype(">u2").view(np.uint8).reshape(-1, 2)[:, i] for i in (0, 1)]
    segments = [b"".join(bytes([0, value]) for value in plane) for plane in planes]
    head = struct.pack("<16I", 2, 64, 64 + len(segments[0]), *[0] * 13)
    return cut(head + b"".join(segments), 2)


def test_frames_without_a_marker_need_a_table_that_fits() -> None:
    frames = [rle(frame) for frame in FRAMES]
    right = make_compressed(FRAMES, RLE, items(frames, starts(frames)), **BITS)
    assert all(np.array_equal(read(right, i).pixels, expected) for i, expected in enumerate(FRAMES))
    for table in ([], [0] * 4, TABLES["of fragments"](frames), TABLES["beside"](frames)):
        for number in range(4):
            with pytest.raises(HeaderError, match="8 fragments for 4 frames and no offset table that fits"):
                read(make_compressed(FRAMES, RLE, items(frames, table), **BITS), number)


@pytest.mark.parametrize("table", ["of fragments", "none", "beside", "far away"])
def test_one_frame_is_all_its_fragments(table: str) -> None:
    frames = [cut(STREAMS[0], 4)]
    data = make_compressed(FRAMES[0], JPEGLS, items(frames, TABLES[table](frames)))
    assert np.array_equal(read(data).pixels, FRAMES[0])


def test_fewer_frames_than_the_header_says_are_refused() -> None:
    data = make_compressed(FRAMES, JPEGLS, items(GROUPS["one fragment each"][:3], []), **BITS)
    with pytest.raises(TruncatedError, match="describes 4 frames, but the pixel data holds 3"):
        read(data, 1)


def test_a_lost_frame_beside_a_split_one_is_not_made_up_for_by_another() -> None:
    frames = [cut(STREAMS[0], 1), cut(STREAMS[1], 2), cut(STREAMS[3], 1)]
    for number in range(4):
        with pytest.raises(HeaderError, match="4 fragments for 4 frames and no offset table that fits"):
            read(make_compressed(FRAMES, JPEGLS, items(frames, []), **BITS), number)


def test_encapsulated_uncompressed_frames_are_read() -> None:
    data = make_compressed(FRAMES, UNCOMPRESSED, encapsulate([frame.tobytes() for frame in FRAMES]), **BITS)
    assert np.array_equal(read(data, 2).pixels, FRAMES[2])


def test_pixels_that_are_not_compressed_under_a_compressed_syntax_are_said_to_be(make: Make) -> None:
    plain = make(FRAMES[0])
    renamed = plain.replace(b"\x14\x001.2.840.10008.1.2.1\0", b"\x16\x001.2.840.10008.1.2.4.50")
    with pytest.raises(HeaderError, match=r"names JPEG Baseline .* but the pixel data is not compressed"):
        read(renamed)


PICTURE = np.add.outer(np.arange(0, 128, 2), np.arange(0, 128, 2)).astype(np.uint8)
COMPRESSED = make_frame(PICTURE, JPEG, bytes(jpeg8_encode(PICTURE, level=95)))
PLAIN = make_dicom(PICTURE)
SEQUENCE_END, ITEM_END = b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xfe\xff\x0d\xe0\0\0\0\0"
PADDING = b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0abcd"
TAILS = [SEQUENCE_END, ITEM_END, ITEM_END + SEQUENCE_END, SEQUENCE_END * 3, SEQUENCE_END + PADDING]
TAILS += [bytes(512), bytes(3), b"\xff" * 40, b"what some program left here", PADDING]


@pytest.mark.parametrize("data", [COMPRESSED, PLAIN], ids=["compressed", "plain"])
@pytest.mark.parametrize("tail", TAILS)
def test_what_follows_the_pixel_data_does_no_harm(data: bytes, tail: bytes) -> None:
    assert np.array_equal(read(data + tail).pixels, read(data).pixels)


@pytest.mark.parametrize("end", [b"", PADDING, ITEM_END + SEQUENCE_END, bytes(5), b"\xff" * 40])
def test_compressed_pixels_without_their_delimiter_are_read(end: bytes) -> None:
    assert np.array_equal(read(COMPRESSED[:-8] + end).pixels, read(COMPRESSED).pixels)


def test_a_delimiter_between_other_elements_does_no_harm(make: Make) -> None:
    at = PLAIN.index(b"\x28\0\x02\0US")
    assert np.array_equal(read(PLAIN[:at] + SEQUENCE_END + PLAIN[at:]).pixels, PICTURE)


@pytest.mark.parametrize("explicit", [False, True])
def test_a_delimiter_inside_a_sequence_of_stated_length_does_no_harm(explicit: bool) -> None:
    """Writers that state the lengths of a sequence and its item and close them all the same."""
    element = b"\x08\0\x60\0CS\2\0CT"
    inner = element + ITEM_END if explicit else element
    item = b"\xfe\xff\0\xe0" + struct.pack("<I", len(inner)) + inner + (b"" if explicit else ITEM_END)
    content = item + SEQUENCE_END
    sequence = b"\x08\0\x40\x11SQ\0\0" + struct.pack("<I", len(content)) + content
    at = PLAIN.index(b"\x28\0\x02\0US")
    assert np.array_equal(read(PLAIN[:at] + sequence + PLAIN[at:]).pixels, PICTURE)


def test_a_file_cut_within_its_fragments_is_still_refused() -> None:
    for lost in (9, 30, 300):
        with pytest.raises(TruncatedError):
            read(COMPRESSED[:-lost])


def metas(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Preamble, file meta and data set."""
    start = data.index(b"\x08\0\x16\0UI")
    return data[:132], data[132:start], data[start:]


@pytest.mark.parametrize("preamble", [False, True])
@pytest.mark.parametrize("other", [COMPRESSED, PLAIN], ids=["compressed", "plain"])
@pytest.mark.parametrize("data", [COMPRESSED, PLAIN], ids=["compressed", "plain"])
def test_the_first_of_two_meta_groups_holds(data: bytes, other: bytes, preamble: bool) -> None:
    head, meta, body = metas(data)
    second = (head if preamble else b"") + metas(other)[1]
    assert np.array_equal(read(head + meta + second + body).pixels, read(data).pixels)


def test_a_meta_group_amid_the_data_set_is_passed_over() -> None:
    head, meta, body = metas(COMPRESSED)
    at = body.index(b"\x28\0\x02\0US")
    assert np.array_equal(read(head + meta + body[:at] + metas(PLAIN)[1] + body[at:]).pixels, read(COMPRESSED).pixels)


def test_a_file_without_pixels_is_not_mended_into_one(make: Make) -> None:
    with pytest.raises(NoPixelsError):
        read(make(PICTURE, PixelData=None) + SEQUENCE_END)


def test_pixel_data_of_no_known_representation_is_said_to_be_damaged() -> None:
    at = COMPRESSED.rindex(b"\xe0\x7f\x10\0OB")
    with pytest.raises(HeaderError, match="pixel data has a damaged header"):
        read(COMPRESSED[: at + 4] + b"O\0" + COMPRESSED[at + 6 :])
