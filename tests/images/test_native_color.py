"""Color that is not compressed: luma and chroma under a wrong label, partial range, palettes with a sign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kdlight.images import read

Make = Callable[..., bytes]
YBR = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
COLOR = {"Rows": 4, "Columns": 6, "SamplesPerPixel": 3, "PlanarConfiguration": 0}


def color(make: Make, samples: np.ndarray, label: str, **more: Any) -> np.ndarray:
    return read(make(samples.reshape(1, -1), **{**COLOR, "PhotometricInterpretation": label, **more})).pixels


@pytest.mark.parametrize("planar", [0, 1])
def test_three_samples_a_pixel_under_a_label_of_two_are_read_as_three(make: Make, planar: int) -> None:
    samples = YBR.transpose(2, 0, 1) if planar else YBR
    full = color(make, YBR, "YBR_FULL")
    shown = color(make, np.ascontiguousarray(samples), "YBR_FULL_422", PlanarConfiguration=planar)
    assert np.array_equal(shown, full)


def test_frames_of_three_samples_under_a_label_of_two(make: Make) -> None:
    frames = np.stack([YBR, YBR[::-1]])
    data = make(frames.reshape(1, -1), **{**COLOR, "PhotometricInterpretation": "YBR_FULL_422", "NumberOfFrames": 2})
    assert np.array_equal(read(data, 1).pixels, color(make, np.ascontiguousarray(YBR[::-1]), "YBR_FULL"))


def test_partial_range_goes_from_16_to_235(make: Make) -> None:
    stored = np.array([[16, 235, 128, 128, 81, 81, 90, 240, 145, 145, 54, 34]], np.uint8)  # BT.601 red and green
    data = make(stored, **{**COLOR, "Rows": 1, "PhotometricInterpretation": "YBR_PARTIAL_422"})
    shown = read(data).pixels.astype(int)
    expected = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [255, 0, 0], [0, 255, 0], [0, 255, 0]]
    assert np.abs(shown[0] - expected).max() <= 1


@pytest.mark.parametrize("label", ["YBR_ICT", "YBR_RCT"])
def test_labels_of_jpeg_2000_left_standing_after_it_was_undone_mean_rgb(make: Make, label: str) -> None:
    assert np.array_equal(color(make, YBR, label), YBR)


def test_color_samples_have_no_sign_whatever_the_header_says(make: Make) -> None:
    for label in ("RGB", "YBR_FULL"):
        assert np.array_equal(color(make, YBR, label, PixelRepresentation=1), color(make, YBR, label))


@pytest.mark.parametrize(("stored", "word"), [([-2, -1, 0, 1], -2), ([40000, 40001, 40002, 40003], 40000)])
def test_the_first_index_of_a_palette_has_the_sign_of_the_pixels(make: Make, stored: list[int], word: int) -> None:
    names = ("Red", "Green", "Blue")
    data = {f"{n}PaletteColorLookupTableData": np.array([0, 20, 40, 60], "<u2").tobytes() for n in names}
    heads = {f"{n}PaletteColorLookupTableDescriptor": [4, word, 16] for n in names}
    pixels = np.array([stored]).astype(np.int16 if min(stored) < 0 else np.uint16)
    shown = read(make(pixels, PhotometricInterpretation="PALETTE COLOR", **data, **heads)).pixels
    assert shown[0, :, 0].tolist() == [0, 20, 40, 60]


@pytest.mark.parametrize(
    ("entries", "shown"),
    [([0, 128, 255], [0, 128, 255]), ([0, 128, 256], [0, 128, 255]), ([0, 257, 65535], [0, 1, 255])],
)
def test_a_palette_of_bytes_in_words_is_shown_as_bytes_and_one_step_above_as_white(
    make: Make, entries: list[int], shown: list[int]
) -> None:
    names = ("Red", "Green", "Blue")
    data = {f"{n}PaletteColorLookupTableData": np.array(entries, "<u2").tobytes() for n in names}
    heads = {f"{n}PaletteColorLookupTableDescriptor": [3, 0, 16] for n in names}
    pixels = np.array([[0, 1, 2]], np.uint16)
    found = read(make(pixels, PhotometricInterpretation="PALETTE COLOR", **data, **heads)).pixels
    assert found[0, :, 0].tolist() == shown
