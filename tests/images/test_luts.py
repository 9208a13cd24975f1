"""VOI LUTs, the sign of tables, and padding: what is shown of values that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from kdlight.images import read
from kdlight.images.errors import HeaderError

Make = Callable[..., bytes]
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
TWELVE = {"BitsStored": 12, "HighBit": 11}
GOOD_WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
BIG = "1.2.840.10008.1.2.2"


def item(**elements: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def table(values: Any, first: int, bits: int, vr: str = "OW", order: str = "<", count: int | None = None) -> Sequence:
    """A LUT sequence; `vr` of both its elements is SS where that is asked for."""
    words = np.asarray(values).astype(np.uint16)
    ds, head = Dataset(), [len(words) if count is None else count, first, bits]
    ds.add_new("LUTDescriptor", "SS" if vr == "SS" else "US", head)
    data = words.astype(f"{order}u2").tobytes()
    ds.add_new("LUTData", vr, words.view(np.int16).tolist() if vr == "SS" else words.tolist() if vr == "US" else data)
    return Sequence([ds])


def shown(data: bytes) -> np.ndarray:
    return read(data).display()


@pytest.mark.parametrize("declared", [10, 12, 16])
def test_a_table_of_ten_bits_fills_the_scale_whatever_bits_it_declares(make: Make, declared: int) -> None:
    stored = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    data = make(stored, BitsStored=10, HighBit=9, VOILUTSequence=table(np.arange(1024), 0, declared))
    assert np.array_equal(shown(data), np.rint(stored * (255 / 1023)))


@pytest.mark.parametrize("declared", [12, 16])
def test_a_table_of_twelve_bits_that_does_not_reach_its_end_keeps_them(make: Make, declared: int) -> None:
    values = np.rint(np.arange(4096) * (4000 / 4095))
    data = make(RAMP, VOILUTSequence=table(values, 0, declared), **TWELVE)
    assert np.array_equal(shown(data), np.rint(values * (255 / 4095)).reshape(64, 64))
    assert shown(data).max() == 249


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15])
@pytest.mark.parametrize("spare", [0, 1, 16])
def test_one_step_above_the_scale_is_no_further_bit(make: Make, bits: int, spare: int) -> None:
    """0..1024 is a scale of 10 bits, rounded, under a descriptor of 10, 11 or 16 bits; its end is white."""
    values = np.rint(np.linspace(0, 2**bits, 4096))
    data = make(RAMP, VOILUTSequence=table(values, 0, min(16, bits + spare)), **TWELVE)
    assert read(data).voi_lut is not None
    assert np.array_equal(shown(data), np.clip(np.rint(values * (255 / (2**bits - 1))), 0, 255).reshape(64, 64))
    assert shown(data).max() == 255


@pytest.mark.parametrize("declared", [8, 16])
def test_no_table_has_fewer_than_eight_bits(make: Make, declared: int) -> None:
    data = make(RAMP, VOILUTSequence=table(np.arange(4096) // 64, 0, declared), **TWELVE)
    assert shown(data).max() == 63


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("vr", ["US", "SS", "OW"])
def test_entries_have_no_sign(make: Make, vr: str, signed: bool) -> None:
    values = np.rint(np.arange(4096) * (65535 / 4095))
    stored = (RAMP.astype(np.int16) - 2048) if signed else RAMP
    first = -2048 if signed and vr == "SS" else 63488 if signed else 0
    data = make(stored, VOILUTSequence=table(values, first, 16, vr), **({} if signed else TWELVE))
    assert np.array_equal(shown(data), np.rint(values * (255 / 65535)).reshape(64, 64))
    modality = make(stored, ModalityLUTSequence=table(values, first, 16, vr), **({} if signed else TWELVE))
    assert np.array_equal(read(modality).pixels, values.reshape(64, 64))


@pytest.mark.parametrize(
    ("stored", "elements", "word", "first"),
    [
        (RAMP, {"RescaleSlope": "1", "RescaleIntercept": "-1024", **TWELVE}, 64512, -1024),
        (RAMP, {"RescaleSlope": "-1", "RescaleIntercept": "0", **TWELVE}, 61441, -4095),
        (RAMP.astype(np.int16) - 2048, {}, 63488, -2048),
        (RAMP + np.uint16(40000), {}, 40000, 40000),
        (RAMP + np.uint16(40000), {"RescaleSlope": "1", "RescaleIntercept": "-1024"}, 38976, 38976),
        ((RAMP.astype(np.int32) - 32768).astype(np.int16), {"RescaleSlope": "1", "RescaleIntercept": "32768"}, 0, 0),
    ],
)
def test_the_first_input_has_a_sign_where_inputs_may_have_one(
    make: Make, stored: np.ndarray, elements: dict[str, Any], word: int, first: int
) -> None:
    data = make(stored, VOILUTSequence=table(np.arange(4096), word, 12), **elements)
    expected = np.rint(np.clip(read(data).pixels - first, 0, 4095) * (255 / 4095))
    assert read(data).voi_first == first
    assert np.array_equal(shown(data), expected)


def test_the_input_of_a_voi_table_after_a_modality_table_has_no_sign(make: Make) -> None:
    stored = np.array([[-2, -1], [0, 1]], np.int16)
    modality = table([40000, 40001, 40002, 40003], 65534, 16)
    data = make(stored, ModalityLUTSequence=modality, VOILUTSequence=table([0, 85, 170, 255], 40000, 8))
    assert read(data).pixels.tolist() == [[40000, 40001], [40002, 40003]]
    assert shown(data).tolist() == [[0, 85], [170, 255]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_entries_of_a_byte_stand_in_pairs(make: Make, order: str) -> None:
    values = np.arange(255, -1, -1, dtype=np.uint8)
    ds = item(LUTDescriptor=[256, 0, 8])
    ds.add_new("LUTData", "OW", values.view(np.uint16).astype(f"{order}u2").tobytes())
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    data = make(ramp, *([BIG] if order == ">" else []), VOILUTSequence=Sequence([ds]))
    assert np.array_equal(shown(data), 255 - ramp)


@pytest.mark.parametrize("per_frame", [False, True])
def test_a_table_in_the_frame_voi_lut_sequence_is_shown(make: Make, per_frame: bool) -> None:
    curve = np.rint(np.arange(4096.0) ** 2 / 4095)
    group = item(FrameVOILUTSequence=Sequence([item(VOILUTSequence=table(curve, 0, 12))]))
    groups = {"SharedFunctionalGroupsSequence": Sequence([group])}
    if per_frame:
        other = item(FrameVOILUTSequence=Sequence([item(VOILUTSequence=table(curve[::-1], 0, 12))]))
        groups = {"PerFrameFunctionalGroupsSequence": Sequence([other, group])}
    frames = np.stack([RAMP, RAMP])
    image = read(make(frames, NumberOfFrames=2, **groups, **TWELVE), 1)
    assert np.array_equal(image.display(), np.rint(curve * (255 / 4095)).reshape(64, 64))


def test_an_empty_item_of_the_frame_does_not_hide_what_all_frames_share(make: Make) -> None:
    shared = item(FrameVOILUTSequence=Sequence([item(WindowCenter="5", WindowWidth="7")]))
    own = item(FrameVOILUTSequence=Sequence([Dataset()]))
    groups = {"PerFrameFunctionalGroupsSequence": Sequence([own]), "SharedFunctionalGroupsSequence": Sequence([shared])}
    window = read(make(RAMP, **groups)).windows[0]
    assert (window.center, window.width) == (5, 7)


BROKEN = [
    table(np.arange(4000), 0, 12, count=4096),
    table(np.arange(4096), 0, 8),
    table(np.zeros(4096), 0, 12),
    table(np.arange(4096), 0, 0),
    Sequence([item(LUTDescriptor=[4096, 0, 12])]),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_table_gives_way_to_a_window_a_good_table_or_the_fit(make: Make, broken: Sequence) -> None:
    linear = np.rint(np.clip(RAMP * (255 / 4095), 0, 255))
    assert np.array_equal(shown(make(RAMP, VOILUTSequence=broken, **GOOD_WINDOW, **TWELVE)), linear)
    fit = read(make(RAMP, VOILUTSequence=broken, **TWELVE))
    assert (fit.voi_lut, fit.windows[0].name) == (None, "fit")
    good = table(np.arange(4096)[::-1], 0, 12)
    assert np.array_equal(shown(make(RAMP, VOILUTSequence=Sequence([*broken, *good]), **TWELVE)), 255 - linear)


def test_a_broken_modality_table_is_refused_for_values_would_be_wrong(make: Make) -> None:
    with pytest.raises(HeaderError, match="4000 of 4096 entries"):
        read(make(RAMP, ModalityLUTSequence=table(np.arange(4000), 0, 12, count=4096), **TWELVE))


def padded(value: float, dtype: str, low: float, high: float, more: tuple[float, ...] = ()) -> np.ndarray:
    """(64, 64) of `dtype`: a ramp from low to high, its first 16 rows the padding value (and `more`)."""
    pixels = np.linspace(low, high, 4096).reshape(64, 64).astype(dtype)
    pixels[:16] = np.resize([value, *more], (16, 64)).astype(dtype)
    return pixels


@pytest.mark.parametrize(
    ("pixels", "elements"),
    [
        (padded(-2000, "i2", -1000, 1000), {"PixelPaddingValue": 63536}),
        (padded(-2000, "i2", -1000, 1000), {"PixelPaddingValue": -2000}),
        (padded(-2048, "i2", -1000, 1000), {"PixelPaddingValue": 2048, **TWELVE}),
        (padded(-2048, "i2", -1000, 1000), {"PixelPaddingValue": 63488, **TWELVE}),
        (padded(63536, "u2", 1000, 3000), {"PixelPaddingValue": 63536}),
        (padded(63536, "u2", 1000, 3000), {"PixelPaddingValue": -2000}),
        (
            padded(-2000, "i2", -1000, 1000, (-1900, -1500)),
            {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1500},
        ),
        (
            padded(-2000, "i2", -1000, 1000, (-1900, -1500)),
            {"PixelPaddingValue": 64036, "PixelPaddingRangeLimit": 63536},
        ),
        (padded(-2000, "i4", -1000, 1000), {"PixelPaddingValue": -2000}),
    ],
)
def test_padding_is_left_out_of_the_fit_by_its_sign_bits_and_range(
    make: Make, pixels: np.ndarray, elements: dict[str, Any]
) -> None:
    vr = "SS" if elements["PixelPaddingValue"] < 0 else "US"
    ends = {k: v for k, v in elements.items() if "Padding" in k}
    plain = make(pixels, **{k: v for k, v in elements.items() if k not in ends})
    fit = read(with_words(plain, ends, vr)).windows[0]
    rest = np.percentile(pixels[16:].astype(float), (0.5, 99.5))
    assert fit.name == "fit"
    assert (fit.center, fit.width) == pytest.approx(((rest[0] + rest[1]) / 2, rest[1] - rest[0]))


def with_words(data: bytes, ends: dict[str, int], vr: str) -> bytes:
    """The file with 16-bit elements put before its pixel data, in any VR; (0028,0120) and (0028,0121)."""
    numbers = {"PixelPaddingValue": 0x20, "PixelPaddingRangeLimit": 0x21}
    parts = [
        b"\x28\0" + bytes([numbers[k], 1]) + vr.encode() + b"\2\0" + (v & 0xFFFF).to_bytes(2, "little")
        for k, v in ends.items()
    ]
    at = data.rindex(b"\xe0\x7f\x10\0O")
    return data[:at] + b"".join(parts) + data[at:]


@pytest.mark.parametrize(
    ("kind", "dtype", "limit"), [("Float", "f4", None), ("Float", "f4", -99990.0), ("DoubleFloat", "f8", None)]
)
def test_padding_of_floats_and_what_is_no_number_is_left_out_of_the_fit(
    make: Make, kind: str, dtype: str, limit: float | None
) -> None:
    pixels = padded(-99999, dtype, -1, 1, () if limit is None else (-99995,))
    pixels[:2] = np.nan
    elements = {f"{kind}PixelPaddingValue": -99999.0, f"{kind}PixelData": pixels.tobytes()}
    if limit is not None:
        elements[f"{kind}PixelPaddingRangeLimit"] = limit
    bits = 8 * pixels.dtype.itemsize
    fit = read(make(np.zeros((64, 64), np.uint8), PixelData=None, BitsAllocated=bits, **elements)).windows[0]
    rest = np.percentile(pixels[16:], (0.5, 99.5))
    assert (fit.center, fit.width) == pytest.approx(((rest[0] + rest[1]) / 2, rest[1] - rest[0]), abs=1e-5)


def test_a_picture_of_padding_alone_is_still_shown(make: Make) -> None:
    image = read(make(np.full((4, 4), -2000, np.int16), PixelPaddingValue=-2000))
    assert np.unique(image.display()).size == 1
