"""Files made to do harm, or damaged by chance: one clear sentence each, and nothing else stops."""

from __future__ import annotations

import contextlib
import errno
import struct
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from kdlight.images import Image, ImageError, read
from kdlight.images.errors import (
    CodecError,
    EmptyError,
    EncryptedError,
    HeaderError,
    MissingError,
    TooBigError,
    TruncatedError,
    UnsupportedError,
)
from kdlight.images.limits import LIMITS
from kdlight.images.structure import structure

Make = Callable[..., bytes]
META = bytes(128) + b"DICM\x02\0\x10\0UI"


def explicit(syntax: bytes, body: bytes) -> bytes:
    syntax += b"\0" * (len(syntax) % 2)
    return META + struct.pack("<H", len(syntax)) + syntax + body


def test_empty_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(EmptyError, match="no bytes"):
        read(b"")
    for path in (tmp_path, tmp_path / "Doe^Jane.dcm", "bad\0name"):
        with pytest.raises(MissingError) as caught:
            read(path)
        assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(errno.ENOENT, "none"), "does not exist"),
        (PermissionError(errno.EACCES, "denied"), "you may not read it"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
    ],
)
def test_a_missing_file_is_told_from_one_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(MissingError, match=said):
        read(tmp_path / "scan.dcm")


def test_a_file_beyond_the_limit_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    path = tmp_path / "large.dcm"
    with path.open("wb") as file:
        file.truncate(LIMITS.bytes + 1)
    with pytest.raises(TooBigError, match="64 MB"):
        read(path)


def test_a_deflate_bomb_is_refused() -> None:
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(1 << 20)
    body = b"".join(engine.compress(zeros) for _ in range(600)) + engine.flush()
    assert len(body) < 1_000_000
    with pytest.raises(TooBigError, match="inflates to more than 512 MB"):
        read(explicit(b"1.2.840.10008.1.2.1.99", body))


@pytest.mark.parametrize("levels", [63, 66, 5000, 200_000])
def test_sequences_nested_deeper_than_the_limit_are_refused(levels: int) -> None:
    nested = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * levels
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" * levels
    kind, words = (TooBigError, "more than 64 deep") if levels > 64 else (ImageError, "without pixel data")
    with pytest.raises(kind, match=words):
        read(explicit(b"1.2.840.10008.1.2.1", nested + closed))


IMPLICIT, EXPLICIT, DEFLATED, BASELINE = (f"1.2.840.10008.1.2{end}".encode() for end in ("", ".1", ".1.99", ".4.50"))
MANY = LIMITS.parts + 1
ITEM, EMPTY = b"\xfe\xff\0\xe0\0\0\0\0", struct.pack("<HHI", 8, 5, 0)


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture(format_: str, before: bytes) -> bytes:
    """A small picture with bytes put in after its first header."""
    buffer = BytesIO()
    PIL.Image.new("L", (8, 8)).save(buffer, format_)
    data, at = buffer.getvalue(), {"PNG": 33, "JPEG": 2}[format_]
    return data[:at] + before + data[at:]


def pages(count: int) -> bytes:
    """A chain of so many directories of one tag, one after the other."""
    chain = np.zeros(
        count, [("tags", "<u2"), ("tag", "<u2"), ("type", "<u2"), ("n", "<u4"), ("v", "<u4"), ("at", "<u4")]
    )
    chain["tags"] = chain["n"] = 1
    chain["tag"], chain["type"], chain["v"], chain["at"] = 256, 4, 8, 8 + 18 * np.arange(1, count + 1)
    chain["at"][-1] = 0
    return b"II*\0" + struct.pack("<I", 8) + chain.tobytes()


def stated(tag: bytes, content: bytes, more: int = 0) -> bytes:
    """An implicit element or item that states its length, or `more` than it."""
    return tag + struct.pack("<I", len(content) + more) + content


def nested_items(tag: bytes) -> bytes:
    return stated(tag, stated(ITEM[:4], stated(tag, ITEM * MANY)))


TINY: dict[str, Callable[[], bytes]] = {
    "elements": lambda: explicit(IMPLICIT, EMPTY * MANY),
    "elements of the file meta group": lambda: bytes(128) + b"DICM" + b"\x02\0\x10\0UI\0\0" * MANY,
    "deflated elements": lambda: explicit(DEFLATED, zlib.compress(b"\x08\0\x05\0CS\0\0" * MANY, wbits=-15)),
    "items": lambda: explicit(EXPLICIT, b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + ITEM * MANY),
    "items of an implicit sequence": lambda: explicit(IMPLICIT, EMPTY + nested_items(b"\x00\x52\x30\x92")),
    "items of a sequence called unknown": lambda: explicit(
        EXPLICIT, b"\x08\0\x05\0CS\0\0\x00\x52\x30\x92" + stated(b"UN\0\0", ITEM * MANY)
    ),
    "items behind damage": lambda: explicit(
        IMPLICIT,
        EMPTY + stated(b"\x08\0\x40\x11", stated(ITEM[:4], EMPTY[:4] + b"\xff\xff\xff\x7f")) + ITEM * MANY,
    ),
    "items in one that claims more": lambda: explicit(
        IMPLICIT, EMPTY + stated(b"\x08\0\x40\x11", stated(ITEM[:4], EMPTY * MANY, 10**9), 10**8)
    ),
    "stray delimiters": lambda: explicit(IMPLICIT, EMPTY + b"\xfe\xff\x0d\xe0\0\0\0\0" * MANY),
    "fragments": lambda: explicit(BASELINE, b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + ITEM * MANY),
    "chunks": lambda: picture("PNG", chunk(b"abCd") * MANY),
    "texts": lambda: picture("PNG", chunk(b"tEXt", b"a\0b") * MANY),
    "empty chunks of pixels": lambda: picture("PNG", chunk(b"IDAT") * MANY),
    "segments": lambda: picture("JPEG", b"\xff\xfe\0\x03a" * MANY),
    "bytes of filling": lambda: picture("JPEG", b"\xff" * MANY),
    "bytes between segments": lambda: picture("JPEG", b"\xff\xfe\0\x03a" + bytes(MANY)),
    "pages": lambda: pages(LIMITS.pages + 1),
}


@pytest.mark.parametrize("kind", TINY)
def test_a_file_of_tiny_parts_is_refused_before_a_library_makes_objects_of_them(kind: str) -> None:
    with pytest.raises(TooBigError, match=r"more than (250,000 elements|10,000 pages).*at most so many are read\."):
        read(TINY[kind]())


@pytest.mark.parametrize("keyword", ["WindowCenter", "PixelSpacing", "PixelPaddingValue", "NumberOfFrames", "Modality"])
def test_an_element_of_millions_of_values_is_not_taken_apart(make: Make, ramp: np.ndarray, keyword: str) -> None:
    tag = struct.pack("<HH", *divmod(tag_for_keyword(keyword) or 0, 1 << 16))
    pixels = make(ramp, "1.2.840.10008.1.2")
    at = pixels.rindex(b"\xe0\x7f\x10\0")
    start = time.monotonic()
    with contextlib.suppress(HeaderError):  # where the picture needs the element
        assert read(pixels[:at] + stated(tag, b"1\\" * 1_000_000) + pixels[at:]).pixels.shape == (16, 16)
    assert time.monotonic() - start < 1.5  # 3 to 7 s with a Python object for each


def test_many_frames_with_facts_of_their_own_are_read(make: Make, ramp: np.ndarray) -> None:
    group, window = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = 100, 50
    group.FrameVOILUTSequence = [window]
    frames = 2000
    data = make(np.stack([ramp] * frames), NumberOfFrames=frames, PerFrameFunctionalGroupsSequence=[group] * frames)
    assert read(data, frames - 1).windows[0].center == 100


def test_elements_that_claim_more_than_there_is(make: Make, ramp: np.ndarray) -> None:
    data = make(ramp)
    at = data.rindex(b"\xe0\x7f\x10\0OB\0\0") + 8
    with pytest.raises(TruncatedError):
        read(data[:at] + b"\xf0\xff\xff\x7f" + data[at + 4 :])


def test_encrypted_and_remote_and_video_content(make: Make, ramp: np.ndarray) -> None:
    with pytest.raises(EncryptedError, match="encrypted"):
        read(make(ramp, PixelData=None, EncryptedAttributesSequence=[]))
    with pytest.raises(UnsupportedError, match="server"):
        read(make(ramp, PixelData=None, PixelDataProviderURL="https://example.org/x"))


def test_a_syntax_that_cannot_be_printed_is_a_refusal_too(make: Make, ramp: np.ndarray) -> None:
    """The child's words are checked; those of the file in them must not make nonsense of the whole."""
    data = make(ramp, PixelData=encapsulate([bytes(100)]))
    with pytest.raises(UnsupportedError, match=r"1\.2\.840\.10008\.\?\.2\.4\.50 is not supported"):
        read(data.replace(b"\x14\x001.2.840.10008.1.2.1\0", named("1.2.840.10008.\0.2.4.50")))


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        ("1.2.840.10008.1.2.4.102", "MPEG-4"),
        ("1.2.840.10008.1.2.4.92", "JPEG 2000 Part 2"),
        ("1.2.3.4.5.6.7", "a private transfer syntax"),
    ],
)
def test_a_syntax_without_decoder_is_named(make: Make, ramp: np.ndarray, syntax: str, words: str) -> None:
    data = make(ramp, PixelData=encapsulate([bytes(100)])).replace(b"\x14\x001.2.840.10008.1.2.1\0", named(syntax))
    with pytest.raises(UnsupportedError, match=words):
        read(data)


def named(syntax: str) -> bytes:
    text = syntax.encode() + b"\0" * (len(syntax) % 2)
    return struct.pack("<H", len(text)) + text


JPEG, J2K, RLE, JLS = (f"1.2.840.10008.1.2.{n}" for n in ("4.50", "4.90", "5", "4.80"))


@pytest.mark.parametrize("syntax", [JPEG, J2K, RLE, JLS])
@pytest.mark.parametrize("frame", [bytes(2), b"\xff\xd8\xff\xd9", b"\xff\x4f\xff\x51", bytes(300), b"DOE^JANE" * 40])
def test_compressed_rubbish_is_refused(make: Make, ramp: np.ndarray, syntax: str, frame: bytes) -> None:
    data = make(ramp, PixelData=encapsulate([frame + b"\0" * (len(frame) % 2)]))
    with pytest.raises((CodecError, HeaderError, TruncatedError)) as caught:
        read(data.replace(b"\x14\x001.2.840.10008.1.2.1\0", named(syntax)))
    assert "DOE" not in str(caught.value)


@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "JPGExtended.dcm", "examples_jpeg2k.dcm"])
def test_a_frame_that_lost_its_end_is_refused_not_painted_gray(installed: Path, name: str) -> None:
    data = bytearray((installed / name).read_bytes())
    frames = read(bytes(data)).frames
    last = data.rindex(b"\xfe\xff\0\xe0")  # the last fragment of the last frame
    (length,) = struct.unpack_from("<I", data, last + 4)
    end = last + 8 + length
    data[end - length // 3 : end] = bytes(length // 3)
    with pytest.raises((TruncatedError, CodecError)):
        read(bytes(data), frames - 1)


def test_a_header_that_contradicts_the_frame_is_refused(installed: Path) -> None:
    data = (installed / "examples_jpeg2k.dcm").read_bytes()
    at = data.index(b"\x28\0\x10\0US\x02\0") + 8
    with pytest.raises(HeaderError, match="640 x 480 pixels, but the header says 640 x 100"):
        read(data[:at] + struct.pack("<H", 100) + data[at + 2 :])


def test_a_table_of_frames_that_points_nowhere_is_refused(make: Make, ramp: np.ndarray) -> None:
    frames = np.stack([ramp, ramp])
    data = make(frames, NumberOfFrames=2, PixelData=encapsulate([b"\xff\xd8" + bytes(20)] * 2, has_bot=True))
    data = data.replace(b"\x14\x001.2.840.10008.1.2.1\0", named(JPEG))
    broken = data.replace(struct.pack("<II", 0, 30), struct.pack("<II", 0, 10**9))
    assert broken != data
    with pytest.raises((TruncatedError, CodecError)):
        read(broken, 1)


def outcome(data: bytes) -> None:
    """Whatever the bytes, there is an image with finite pixels or a reason in a sentence."""
    try:
        image = read(data)
    except ImageError as error:
        told = (str(error)[-1], error.reason in ("image", "crash", "time"))
    else:
        told = (".", False)
        assert isinstance(image, Image)
        assert np.isfinite(image.pixels).all()
        assert image.display().dtype == np.uint8
    assert told == (".", False)


slow = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(st.binary(max_size=400))
@slow
def test_random_bytes(data: bytes) -> None:
    outcome(data)
    outcome(bytes(128) + b"DICM" + data)


@given(st.data())
@slow
def test_real_files_with_changed_bytes(installed: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm", "JPEG2000.dcm", "liver_1frame.dcm"]))
    content = bytearray((installed / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    outcome(bytes(content))


@given(st.binary(max_size=600))
@settings(max_examples=300, deadline=None)
def test_the_walk_over_any_bytes_ends(data: bytes) -> None:
    with contextlib.suppress(ImageError):
        assert structure(b"\x08\0\x05\0" + data).body.endswith(data)


def test_a_refusal_has_its_reason_in_a_word(make: Make, ramp: np.ndarray) -> None:
    with pytest.raises(HeaderError) as refusal:
        read(make(ramp, Rows=None))
    assert refusal.value.reason == "header"
