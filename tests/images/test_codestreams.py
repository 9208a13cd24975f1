"""Compressed frames whose bits, sign, color and end are known: what a stream says of itself against its header."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import PIL.Image
import pytest
from imagecodecs import jpeg8_encode, jpegls_encode, ljpeg_encode
from openjpeg.utils import encode_array
from pydicom.pixels.encoders import RLELosslessEncoder

from kdlight.images import read
from kdlight.images.errors import CodecError, HeaderError, TruncatedError, UnsupportedError
from tests.images.conftest import make_dicom, make_frame

JPEG, EXTENDED, LOSSLESS = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 70))
JPEGLS, JPEG2000, RLE = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"
NATIVE = ""
ROWS, COLUMNS = 64, 48
TWELVE = {"BitsStored": 12, "HighBit": 11}
TRUTH = np.random.default_rng(0).integers(0, 4096, (ROWS, COLUMNS)).astype(np.uint16)
JUNK = np.random.default_rng(1).integers(0, 16, (ROWS, COLUMNS)).astype(np.uint16) << 12
SMOOTH = np.add.outer(np.linspace(0, 127, ROWS), np.linspace(0, 127, COLUMNS)).astype(np.uint8)


def rle(pixels: np.ndarray) -> bytes:
    size = 8 * pixels.dtype.itemsize
    encoded: bytes = RLELosslessEncoder.encode(
        pixels.tobytes(),
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        number_of_frames=1,
        samples_per_pixel=1,
        bits_allocated=size,
        bits_stored=size,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
    )
    return encoded


ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    LOSSLESS: lambda pixels: bytes(ljpeg_encode(pixels, bitspersample=16)),
    JPEGLS: lambda pixels: bytes(jpegls_encode(pixels)),
    JPEG2000: lambda pixels: encode_array(pixels, bits_stored=8 * pixels.dtype.itemsize),
    RLE: rle,
}
"""Whole words of 16 bits to a frame, without loss."""


def words(syntax: str, stored: np.ndarray, **elements: Any) -> bytes:
    """A file of whole 16-bit words in any syntax."""
    if syntax == NATIVE:
        return make_dicom(stored, **elements)
    return make_frame(stored, syntax, ENCODERS[syntax](stored), **elements)


every_syntax = pytest.mark.parametrize("syntax", [NATIVE, *ENCODERS])


@every_syntax
def test_bits_above_those_stored_do_not_count(syntax: str) -> None:
    assert np.array_equal(read(words(syntax, TRUTH | JUNK, **TWELVE)).pixels, TRUTH)


@every_syntax
@pytest.mark.parametrize("junk", [np.uint16(0), JUNK])
def test_the_sign_is_that_of_the_bits_stored(syntax: str, junk: np.ndarray) -> None:
    signed = TRUTH.astype(np.int16) - 2048
    stored = (signed & 0xFFF).astype(np.uint16) | junk
    assert np.array_equal(read(words(syntax, stored, PixelRepresentation=1, **TWELVE)).pixels, signed)


@every_syntax
@pytest.mark.parametrize("signed", [0, 1])
def test_bits_at_the_upper_end_of_the_word_are_values_too(syntax: str, signed: int) -> None:
    expected = TRUTH.astype(np.int16) - 2048 * signed
    stored = ((expected & 0xFFF) << 4).astype(np.uint16) | (JUNK >> 12)
    data = words(syntax, stored, BitsStored=12, HighBit=15, PixelRepresentation=signed)
    assert np.array_equal(read(data).pixels, expected)


@pytest.mark.parametrize("high", [11, 15])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (LOSSLESS, lambda pixels: bytes(ljpeg_encode(pixels, bitspersample=12))),
        (JPEG2000, lambda pixels: encode_array(pixels, bits_stored=12)),
    ],
)
def test_a_codestream_of_the_stored_bits_alone_is_not_shifted(
    syntax: str, encode: Callable[[np.ndarray], bytes], signed: int, high: int
) -> None:
    expected = TRUTH.astype(np.int16) - 2048 * signed
    stored = (expected & 0xFFF).astype(np.uint16)
    data = make_frame(stored, syntax, encode(stored), BitsStored=12, HighBit=high, PixelRepresentation=signed)
    assert np.array_equal(read(data).pixels, expected)


def test_a_codestream_of_fewer_bits_than_stored_has_no_sign_of_its_own() -> None:
    stream = bytes(ljpeg_encode(TRUTH, bitspersample=12))
    data = make_frame(TRUTH, LOSSLESS, stream, BitsStored=16, HighBit=15, PixelRepresentation=1)
    assert np.array_equal(read(data).pixels, TRUTH)


@pytest.mark.parametrize("stored", [12, 16])
def test_a_signed_jpeg_2000_stream_keeps_its_sign(stored: int) -> None:
    signed = TRUTH.astype(np.int16) - 2048
    bits = {"BitsStored": stored, "HighBit": stored - 1}
    stream = encode_array(signed, bits_stored=12)
    assert np.array_equal(read(make_frame(signed, JPEG2000, stream, **bits)).pixels, signed)
    unsigned = read(make_frame(signed, JPEG2000, stream, **{**bits, "PixelRepresentation": 0})).pixels
    assert np.array_equal(unsigned, signed & 0xFFF)


def test_what_lossy_jpeg_adds_above_white_is_not_wrapped_to_black() -> None:
    white = np.full((ROWS, COLUMNS), 1023, np.uint16)
    white[:, ::3] = 200
    stream = bytes(jpeg8_encode(white, level=60, bitspersample=12))
    pixels = read(make_frame(white, EXTENDED, stream, BitsStored=10, HighBit=9)).pixels
    assert pixels.max() > 1023
    assert np.abs(pixels - white).max() < 200


def test_lossy_jpeg_of_twelve_bits_that_are_called_ten_is_not_cut() -> None:
    full = (SMOOTH.astype(np.uint16) * 16)[::-1].copy()
    stream = bytes(jpeg8_encode(full, level=95, bitspersample=12))
    pixels = read(make_frame(full, EXTENDED, stream, BitsStored=10, HighBit=9)).pixels
    assert np.abs(pixels - full).max() < 100


@pytest.mark.parametrize("overlay", [False, True])
def test_lossy_words_lose_their_overlay_and_keep_their_white(overlay: bool) -> None:
    white = np.full((ROWS, COLUMNS), 4095, np.uint16)
    white[:, ::5] = 0
    white[:8] = 2000
    stored = white.copy()
    stored[:8] |= np.uint16(overlay << 15)
    stream = bytes(jpegls_encode(stored, level=3))
    pixels = read(make_frame(white, "1.2.840.10008.1.2.4.81", stream, **TWELVE)).pixels
    assert np.abs(pixels - white).max() <= 3


def test_bits_that_the_codestream_cannot_hold_are_refused() -> None:
    stream = bytes(ljpeg_encode(TRUTH, bitspersample=12))
    with pytest.raises(HeaderError, match="up to bit 15, but the frame has 12 bits"):
        read(make_frame(TRUTH, LOSSLESS, stream, BitsStored=8, HighBit=15))


RGB = np.stack([SMOOTH, SMOOTH[::-1], SMOOTH[:, ::-1]], axis=-1)


def ybr(rgb: np.ndarray) -> np.ndarray:
    """PS3.3 C.7.6.3.1.2."""
    r, g, b = rgb.astype(float).transpose(2, 0, 1)
    planes = [0.299 * r + 0.587 * g + 0.114 * b, -0.168736 * r - 0.331264 * g + 0.5 * b + 128]
    planes += [0.5 * r - 0.418688 * g - 0.081312 * b + 128]
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)


def in_color(syntax: str, stream: bytes, label: str) -> np.ndarray:
    color = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": label}
    return read(make_frame(SMOOTH, syntax, stream, **color)).pixels.astype(int)


LABELS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


@pytest.mark.parametrize("label", LABELS)
def test_jpeg_2000_with_a_component_transform_is_rgb_under_any_label(label: str) -> None:
    stream = encode_array(RGB, bits_stored=8, photometric_interpretation=1, use_mct=True)
    assert np.array_equal(in_color(JPEG2000, stream, label), RGB)


@pytest.mark.parametrize("label", LABELS)
def test_jpeg_2000_without_a_component_transform_holds_what_the_label_means(label: str) -> None:
    stored = RGB if label in ("RGB", "YBR_RCT") else ybr(RGB)
    stream = encode_array(stored, bits_stored=8, photometric_interpretation=1, use_mct=False)
    assert np.abs(in_color(JPEG2000, stream, label) - RGB).max() <= 2


def test_jpeg_2000_components_of_different_depth_are_refused() -> None:
    stream = bytearray(encode_array(RGB, bits_stored=8, photometric_interpretation=1, use_mct=False))
    stream[45] = 11  # the second component's precision in SIZ
    with pytest.raises(UnsupportedError, match="differ in depth"):
        in_color(JPEG2000, bytes(stream), "RGB")


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
def test_jpeg_color_is_judged_by_its_markers_and_its_subsampling(subsampling: str, label: str) -> None:
    marked = bytes(jpeg8_encode(RGB, level=98, colorspace="RGB", outcolorspace="YCBCR", subsampling=subsampling))
    assert b"JFIF" in marked[:20]
    assert np.abs(in_color(JPEG, marked, label) - RGB).mean() < 3
    bare = marked[:2] + marked[4 + int.from_bytes(marked[4:6], "big") :]  # without the JFIF segment
    if subsampling != "444" or label != "RGB":
        assert np.abs(in_color(JPEG, bare, label) - RGB).mean() < 3


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL_422"])
def test_jpeg_that_says_rgb_is_not_converted(label: str) -> None:
    stream = bytes(jpeg8_encode(RGB, level=98, colorspace="RGB", outcolorspace="RGB"))
    assert np.abs(in_color(JPEG, stream, label) - RGB).mean() < 3


COMPLETE: dict[str, tuple[np.ndarray, bytes, dict[str, int]]] = {
    JPEG: (SMOOTH, bytes(jpeg8_encode(SMOOTH, level=95)), {}),
    LOSSLESS: (TRUTH, bytes(ljpeg_encode(TRUTH, bitspersample=12)), TWELVE),
    JPEGLS: (TRUTH, bytes(jpegls_encode(TRUTH)), TWELVE),
    JPEG2000: (TRUTH, encode_array(TRUTH, bits_stored=12), TWELVE),
}
every_stream = pytest.mark.parametrize("syntax", list(COMPLETE))


@every_stream
@pytest.mark.parametrize("tail", [b"\0\xd3\x0c\x99\xfa\x01", b"more\xff\xd9", b"\xff\xd8\xff", bytes(999)])
def test_what_follows_the_end_marker_is_no_part_of_the_picture(syntax: str, tail: bytes) -> None:
    pixels, stream, bits = COMPLETE[syntax]
    whole, longer = (read(make_frame(pixels, syntax, s, **bits)).pixels for s in (stream, stream + tail))
    assert np.array_equal(whole, longer)


@every_stream
@pytest.mark.parametrize("pad", [b"", b"\0", b"\0\0"])
def test_a_frame_that_lacks_nothing_but_its_end_marker_is_read(syntax: str, pad: bytes) -> None:
    pixels, stream, bits = COMPLETE[syntax]
    assert stream.endswith(b"\xff\xd9")
    whole, shorter = (read(make_frame(pixels, syntax, s, **bits)).pixels for s in (stream, stream[:-2] + pad))
    assert np.array_equal(whole, shorter)


@every_stream
@pytest.mark.parametrize("filler", [b"\0", b"\xff"])
def test_a_filler_before_the_end_marker_does_no_harm(syntax: str, filler: bytes) -> None:
    pixels, stream, bits = COMPLETE[syntax]
    data = make_frame(pixels, syntax, stream[:-2] + filler + stream[-2:], **bits)
    assert np.array_equal(read(data).pixels, read(make_frame(pixels, syntax, stream, **bits)).pixels)


@every_stream
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
@pytest.mark.parametrize("lost", [40, 4, 3])
def test_a_frame_that_lost_data_is_refused_even_where_an_end_marker_was_put(syntax: str, lost: int, end: bytes) -> None:
    pixels, stream, bits = COMPLETE[syntax]
    with pytest.raises((TruncatedError, CodecError)):
        read(make_frame(pixels, syntax, stream[:-lost] + end, **bits))


@pytest.mark.parametrize("tail", [b"\x7fabc", b"\x05", b"garbage!", b"\x80" * 5, bytes(7)])
def test_what_follows_the_last_run_of_rle_is_no_part_of_the_picture(tail: bytes) -> None:
    assert np.array_equal(read(make_frame(TRUTH, RLE, rle(TRUTH) + tail, **TWELVE)).pixels, TRUTH)


def test_rle_that_lost_data_is_refused() -> None:
    for lost in (4, 20, 300):
        with pytest.raises((TruncatedError, CodecError)):
            read(make_frame(TRUTH, RLE, rle(TRUTH)[:-lost], **TWELVE))


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 3}])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_jpeg_with_restarts_is_read_whole_and_refused_with_a_hole(options: dict[str, Any], end: bytes) -> None:
    buffer = BytesIO()
    PIL.Image.fromarray(SMOOTH).save(buffer, "JPEG", **options)
    stream, expected = buffer.getvalue(), np.asarray(PIL.Image.open(buffer))
    assert np.array_equal(read(make_frame(SMOOTH, JPEG, stream)).pixels, expected)
    for lost in (7, 19, 60, 150):
        with pytest.raises((TruncatedError, CodecError)):
            read(make_frame(SMOOTH, JPEG, stream[:-lost] + end))


def test_progressive_jpeg_is_read() -> None:
    buffer = BytesIO()
    PIL.Image.fromarray(SMOOTH).save(buffer, "JPEG", progressive=True)
    expected = np.asarray(PIL.Image.open(buffer))
    assert np.array_equal(read(make_frame(SMOOTH, JPEG, buffer.getvalue())).pixels, expected)
