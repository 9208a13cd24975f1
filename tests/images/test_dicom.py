"""DICOM made here, where the truth of every pixel is known."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from kdlight.images import Image, read
from kdlight.images.errors import FrameError, HeaderError, NoPixelsError, TooBigError, TruncatedError, UnsupportedError

IMPLICIT, BIG, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
Make = Callable[..., bytes]


def item(**elements: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def lut(values: list[int], first: int, bits: int) -> Sequence:
    ds = item(LUTDescriptor=[len(values), first, bits])
    ds.add_new("LUTData", "US", values)
    return Sequence([ds])


def test_monochrome1_is_inverted_after_the_window_and_only_in_display(make: Make, ramp: np.ndarray) -> None:
    image = read(make(ramp, PhotometricInterpretation="MONOCHROME1", WindowCenter=128, WindowWidth=256))
    assert image.inverted
    assert np.array_equal(image.pixels, ramp)
    assert np.array_equal(image.display(), 255 - ramp)
    assert np.array_equal(image.display(invert=True), ramp)


@pytest.mark.parametrize("syntax", [IMPLICIT, "1.2.840.10008.1.2.1", BIG])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8"])
def test_whole_numbers_of_every_size_sign_and_order(make: Make, syntax: str, dtype: str) -> None:
    ends = np.iinfo(dtype)
    values = np.array([[ends.min, ends.min + 1, 0], [1, ends.max - 1, ends.max]], dtype)
    assert np.array_equal(read(make(values, syntax)).pixels, values.astype(np.float32))


@pytest.mark.parametrize(("stored", "high", "signed"), [(12, 11, 0), (12, 11, 1), (10, 13, 0), (5, 15, 1)])
def test_only_the_stored_bits_count(make: Make, stored: int, high: int, signed: int) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(-(2 ** (stored - 1)) if signed else 0, 2 ** (stored - signed), (5, 7))
    field = (truth & (2**stored - 1)) << (high + 1 - stored)
    noise = rng.integers(0, 2**16, truth.shape) & ~((2**stored - 1) << (high + 1 - stored))
    data = make((field | noise).astype(np.uint16), BitsStored=stored, HighBit=high, PixelRepresentation=signed)
    assert np.array_equal(read(data).pixels, truth)


def test_rescale_gives_hounsfield_units_of_signed_pixels(make: Make) -> None:
    stored = np.array([[-24, 1024], [1064, 3000]], np.int16)
    image = read(make(stored, Modality="CT", RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU"))
    assert image.pixels.tolist() == [[-1048, 0], [40, 1976]]
    assert (image.units, image.modality) == ("HU", "ct")


def test_units_are_not_hounsfield_where_the_file_says_otherwise(make: Make, ramp: np.ndarray) -> None:
    assert read(make(ramp, RescaleSlope="2", RescaleIntercept="0", RescaleType="US")).units == ""
    assert read(make(ramp)).units == ""


def test_a_modality_lut_replaces_the_stored_values(make: Make) -> None:
    stored = np.array([[0, 10], [11, 12], [13, 200]], np.uint8)
    image = read(make(stored, ModalityLUTSequence=lut([500, 600, 700], 10, 16)))
    assert image.pixels.tolist() == [[500, 500], [600, 700], [700, 700]]


def test_a_voi_lut_is_shown_first_and_a_window_when_asked(make: Make) -> None:
    stored = np.array([[0, 100], [101, 102], [103, 255]], np.uint8)
    image = read(make(stored, VOILUTSequence=lut([4095, 2048, 0], 101, 12)))
    assert image.display().tolist() == [[255, 255], [255, 128], [0, 0]]
    assert np.array_equal(image.display(image.windows[0]), stored)


def test_a_voi_lut_for_negative_values_begins_below_zero(make: Make) -> None:
    stored = np.array([[0, 1], [2, 3]], np.uint16)
    data = make(stored, RescaleSlope="1", RescaleIntercept="-2", VOILUTSequence=lut([0, 85, 170, 255], 65534, 8))
    assert read(data).display().tolist() == [[0, 85], [170, 255]]


def test_the_windows_of_the_file_come_first_and_keep_their_function(make: Make, ramp: np.ndarray) -> None:
    data = make(ramp, WindowCenter=[100, 50], WindowWidth=[200, 0], VOILUTFunction="SIGMOID")
    first = read(data).windows[0]
    assert (first.center, first.width, first.name, first.function) == (100, 200, "file", "sigmoid")
    expected = np.rint(255 / (1 + np.exp(-4 * (ramp.astype(float) - 100) / 200)))
    assert np.array_equal(read(data).display(), expected)
    assert [w.name for w in read(data).windows] == ["file", "full"]


def test_without_a_window_the_bulk_of_the_values_is_fitted_without_padding(make: Make) -> None:
    values = np.full((100, 100), -2000, np.int16)
    values[20:80, 20:80] = np.linspace(100, 300, 3600).reshape(60, 60)
    fit = read(make(values, PixelPaddingValue=-2000)).windows[0]
    assert fit.center == pytest.approx(200, abs=1)
    assert fit.width == pytest.approx(198, abs=2)


def test_a_flat_image_still_has_a_window(make: Make) -> None:
    assert np.unique(read(make(np.full((4, 4), 7, np.int16))).display()).size == 1


def test_one_bit_frames_need_not_begin_on_a_byte(make: Make) -> None:
    bits = np.random.default_rng(1).integers(0, 2, (5, 3, 7), np.uint8)  # 21 bits a frame
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    for frame in range(5):
        data = make(
            bits[0], PixelData=packed, NumberOfFrames=5, BitsAllocated=1, BitsStored=1, HighBit=0, PixelRepresentation=0
        )
        image = read(data, frame)
        assert np.array_equal(image.pixels, bits[frame])
        assert np.array_equal(image.display(), 255 * bits[frame])
        assert (image.frame, image.frames, image.bits) == (frame, 5, 1)


def test_every_frame_can_be_had_and_no_other(make: Make) -> None:
    frames = np.random.default_rng(2).integers(0, 4096, (3, 6, 5), np.uint16)
    data = make(frames, NumberOfFrames=3)
    assert all(np.array_equal(read(data, i).pixels, frames[i]) for i in range(3))
    for frame in (3, -1):
        with pytest.raises(FrameError, match="the file has 3"):
            read(data, frame)


def test_float_and_double_pixels_and_what_is_no_number(make: Make) -> None:
    values = np.array([[0.25, np.nan], [-1.5, 1e300]])
    plain = make(np.zeros((2, 2), np.uint8), PixelData=None, BitsAllocated=64, DoubleFloatPixelData=values.tobytes())
    assert read(plain).pixels.tolist() == [[0.25, -1.5], [-1.5, pytest.approx(3.4028235e38)]]
    single = make(
        np.zeros((2, 2), np.uint8),
        PixelData=None,
        BitsAllocated=32,
        FloatPixelData=np.float32([[0, 1], [2, 3.5]]).tobytes(),
        WindowCenter=0.5,
        WindowWidth=1,
    )
    assert read(single).pixels.tolist() == [[0, 1], [2, 3.5]]
    assert read(single).windows[0].function == "linear_exact"


COLOR = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
BARS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [100, 150, 200]], np.uint8)


def color(make: Make, pixels: np.ndarray, **more: Any) -> Image:
    """Read (rows, columns, 3) samples in the order that `more` says."""
    rows, columns = (2, 3)
    return read(make(pixels.reshape(1, -1), Rows=rows, Columns=columns, **{**COLOR, **more}))


def test_rgb_by_pixel_and_by_plane(make: Make) -> None:
    rgb = BARS.reshape(2, 3, 3)
    assert np.array_equal(color(make, rgb).pixels, rgb)
    assert np.array_equal(color(make, rgb.transpose(2, 0, 1).copy(), PlanarConfiguration=1).pixels, rgb)
    wide = color(make, rgb.astype(np.uint16) * 257)
    assert np.array_equal(wide.pixels, rgb)
    assert wide.color
    assert wide.windows == ()


def test_ybr_full_becomes_rgb_within_its_rounding(make: Make) -> None:
    r, g, b = BARS.astype(float).T  # PS3.3 C.7.6.3.1.2
    ybr = np.stack([0.299 * r + 0.587 * g + 0.114 * b, -0.1687 * r - 0.3313 * g + 0.5 * b + 128])
    ybr = np.vstack([ybr, 0.5 * r - 0.4187 * g - 0.0813 * b + 128]).T
    stored = np.clip(np.rint(ybr), 0, 255).astype(np.uint8)
    shown = color(make, stored.reshape(2, 3, 3), PhotometricInterpretation="YBR_FULL").pixels
    assert np.abs(shown.astype(int) - BARS.reshape(2, 3, 3)).max() <= 2


def test_ybr_422_shares_its_color_between_two_pixels(make: Make) -> None:
    stored = np.array([[50, 90, 128, 128, 10, 20, 128, 128]], np.uint8)  # Y1 Y2 Cb Cr
    data = make(stored, Rows=2, Columns=2, **{**COLOR, "PhotometricInterpretation": "YBR_FULL_422"})
    assert read(data).pixels.tolist() == [[[50] * 3, [90] * 3], [[10] * 3, [20] * 3]]


def palette(values: np.ndarray, bits: int, order: str = "<") -> dict[str, Any]:
    names = ("Red", "Green", "Blue")
    tables = {
        f"{n}PaletteColorLookupTableData": values[:, i].astype(f"{order}u2").tobytes() for i, n in enumerate(names)
    }
    heads = {f"{n}PaletteColorLookupTableDescriptor": [len(values), 3, bits] for n in names}
    return {**tables, **heads, "PhotometricInterpretation": "PALETTE COLOR"}


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", IMPLICIT, BIG])
def test_palettes_in_every_byte_order(make: Make, syntax: str) -> None:
    table = BARS.astype(np.uint16) * 257
    stored = np.array([[0, 3, 4], [7, 8, 200]], np.uint8)
    data = make(stored, syntax, **palette(table, 16, ">" if syntax == BIG else "<"))
    assert np.array_equal(read(data).pixels, BARS[np.clip(stored.astype(int) - 3, 0, 5)])


def test_a_palette_of_bytes_called_16_bits_is_taken_as_bytes(make: Make) -> None:
    data = make(np.array([[3, 8]], np.uint8), **palette(BARS.astype(np.uint16), 16))
    assert read(data).pixels.tolist() == [[[255, 0, 0], [100, 150, 200]]]


def test_a_segmented_palette_is_expanded(make: Make) -> None:
    words = np.array([0, 2, 0, 1000, 1, 4, 5000, 0, 1, 65535], "<u2")  # 0, 1000, ramp to 5000, 65535
    segments = {f"Segmented{n}PaletteColorLookupTableData": words.tobytes() for n in ("Red", "Green", "Blue")}
    heads = {f"{n}PaletteColorLookupTableDescriptor": [7, 0, 16] for n in ("Red", "Green", "Blue")}
    data = make(np.arange(7, dtype=np.uint8)[None], PhotometricInterpretation="PALETTE COLOR", **segments, **heads)
    expected = np.rint(np.array([0, 1000, 2000, 3000, 4000, 5000, 65535]) * 255 / 65535)
    assert np.array_equal(read(data).pixels[0, :, 0], expected)


def test_a_missing_palette_is_said(make: Make, ramp: np.ndarray) -> None:
    with pytest.raises(HeaderError, match="no palette"):
        read(make(ramp, PhotometricInterpretation="PALETTE COLOR"))


def deflated(data: bytes, wrapped: bool = False, tail: bytes = b"") -> bytes:
    """The file with its data set deflated (PS3.5 A.5), with a zlib header where `wrapped`."""
    start = data.index(b"\x08\0\x16\0UI")
    engine = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
    body = engine.compress(data[start:]) + engine.flush() + tail
    meta = data[:start].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    head = meta.replace(b"\x02\0\x10\0UI\x14\0", b"\x02\0\x10\0UI\x16\0")
    return head + body


@pytest.mark.parametrize(("wrapped", "tail"), [(False, b""), (False, b"\0"), (True, b"")])
def test_a_valid_deflated_file_opens(make: Make, ramp: np.ndarray, wrapped: bool, tail: bytes) -> None:
    image = read(deflated(make(ramp), wrapped, tail))
    assert np.array_equal(image.pixels, ramp)
    assert image.transfer_syntax == "Deflated Explicit VR Little Endian"


def test_a_cut_deflated_file_is_refused(make: Make, ramp: np.ndarray) -> None:
    with pytest.raises(TruncatedError):
        read(deflated(make(ramp))[:-40])


def test_short_pixel_data_is_refused_with_both_lengths(make: Make, ramp: np.ndarray) -> None:
    with pytest.raises(TruncatedError, match="254 bytes long; the header describes 256"):
        read(make(ramp, PixelData=ramp.tobytes()[:-2]))


def test_pixel_data_of_twice_the_length_is_refused_and_padding_is_not(make: Make, ramp: np.ndarray) -> None:
    with pytest.raises(HeaderError, match="2 times as long"):
        read(make(ramp, PixelData=ramp.tobytes() * 2))
    assert np.array_equal(read(make(ramp, PixelData=ramp.tobytes() + bytes(128))).pixels, ramp)


def test_a_file_cut_at_any_byte_is_refused_or_whole(make: Make, ramp: np.ndarray) -> None:
    data = make(ramp, PatientName="Doe^Jane", WindowCenter=1, WindowWidth=2)
    for end in range(0, len(data), 23):
        with pytest.raises(ValueError, match=r"truncated|empty|zeros|without pixel data|pixel data is"):
            read(data[:end])


@pytest.mark.parametrize(
    ("elements", "kind", "words"),
    [
        ({"Rows": None}, HeaderError, "does not say Rows"),
        ({"PixelData": None}, NoPixelsError, '"CT Image" without pixel data'),
        ({"BitsAllocated": 12}, UnsupportedError, "12 bits"),
        ({"BitsStored": 9}, HeaderError, "9 bits up to bit 7 in 8"),
        ({"PhotometricInterpretation": "CMYK"}, UnsupportedError, "photometric"),
        ({"SamplesPerPixel": 3}, HeaderError, "3 samples"),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, HeaderError, "Slope is 0"),
        ({"Rows": 0}, HeaderError, "at least one"),
        ({"Rows": 60000, "Columns": 60000}, TooBigError, "64 megapixels"),
    ],
)
def test_a_header_that_cannot_be_is_refused(
    make: Make, ramp: np.ndarray, elements: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        read(make(ramp, **elements))


def test_facts_of_how_the_picture_lies(make: Make, ramp: np.ndarray) -> None:
    data = make(
        ramp,
        Modality="MR",
        PixelSpacing=["0.5", "0.75"],
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
        ImageLaterality="L",
        ViewPosition="AP",
        BurnedInAnnotation="NO",
    )
    facts = read(data).facts
    assert facts.spacing == (0.5, 0.75)
    assert facts.orientation == "coronal L/F"
    assert (facts.laterality, facts.view, facts.burned_in, facts.modality) == ("L", "AP", False, "mri")
    assert (facts.rows, facts.columns, facts.bits, facts.color) == (16, 16, 8, False)


@pytest.mark.parametrize(
    ("elements", "spacing", "kind"),
    [
        ({"ImagerPixelSpacing": ["0.1", "0.2"]}, (0.1, 0.2), "detector"),
        ({"PixelAspectRatio": [4, 3]}, (4 / 3, 1.0), "aspect"),
        ({"PixelAspectRatio": [1, 1]}, None, None),
        ({"PixelSpacing": ["0", "0"]}, None, None),
    ],
)
def test_spacing_and_what_it_means(
    make: Make, ramp: np.ndarray, elements: dict[str, Any], spacing: tuple[float, float] | None, kind: str | None
) -> None:
    image = read(make(ramp, **elements))
    assert (image.spacing, image.spacing_kind) == (pytest.approx(spacing) if spacing else None, kind)


def test_facts_of_a_frame_come_from_its_own_group(make: Make) -> None:
    frames = np.arange(8, dtype=np.uint16).reshape(2, 2, 2)
    own = [
        item(PixelValueTransformationSequence=Sequence([item(RescaleSlope="1", RescaleIntercept=str(i))]))
        for i in (10, 20)
    ]
    shared = item(
        PixelMeasuresSequence=Sequence([item(PixelSpacing=["2", "3"])]),
        FrameVOILUTSequence=Sequence([item(WindowCenter="5", WindowWidth="7")]),
    )
    groups = {"PerFrameFunctionalGroupsSequence": Sequence(own), "SharedFunctionalGroupsSequence": Sequence([shared])}
    image = read(make(frames, NumberOfFrames=2, **groups), 1)
    assert image.pixels.tolist() == [[24, 25], [26, 27]]
    assert image.spacing == (2, 3)
    assert (image.windows[0].center, image.windows[0].width) == (5, 7)


def test_a_file_without_preamble_and_meta_is_read(make: Make, ramp: np.ndarray) -> None:
    data = make(ramp)
    image = read(data[data.index(b"\x08\0\x16\0UI") :])
    assert np.array_equal(image.pixels, ramp)
    assert image.transfer_syntax is None
