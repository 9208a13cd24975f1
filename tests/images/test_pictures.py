"""PNG, JPEG, TIFF, BMP and WebP, written here by Pillow with pixels that are known."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import PIL.Image
import pytest

from kdlight.images import facts, read
from kdlight.images.errors import CodecError, FrameError, ImageError, TooBigError, TruncatedError


def save(picture: PIL.Image.Image, format_: str, **options: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.fixture
def gray() -> np.ndarray:
    return np.arange(240, dtype=np.uint8).reshape(12, 20)


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "BMP"])
def test_gray_is_shown_exactly_as_stored(gray: np.ndarray, format_: str) -> None:
    image = read(save(PIL.Image.fromarray(gray), format_))
    assert image.format == format_.lower()
    assert image.pixels.dtype == np.float32
    assert np.array_equal(image.pixels, gray)
    assert np.array_equal(image.display(), gray)
    assert (image.bits, image.frames, image.modality) == (8, 1, None)


@pytest.mark.parametrize(("format_", "options"), [("PNG", {}), ("TIFF", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_color_is_shown_exactly_as_stored(rgb: np.ndarray, format_: str, options: dict[str, Any]) -> None:
    image = read(save(PIL.Image.fromarray(rgb), format_, **options))
    assert image.color
    assert np.array_equal(image.display(), rgb)


def test_gray_saved_as_color_is_gray(gray: np.ndarray) -> None:
    image = read(save(PIL.Image.fromarray(gray).convert("RGB"), "PNG"))
    assert not image.color
    assert np.array_equal(image.pixels, gray)


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_sixteen_bits_are_kept(format_: str) -> None:
    wide = np.array([[0, 1, 256], [4095, 40000, 65535]], np.uint16)
    image = read(save(PIL.Image.fromarray(wide), format_))
    assert np.array_equal(image.pixels, wide)
    assert image.bits == 16
    assert image.display(image.windows[1]).tolist() == np.rint(wide * (255 / 65535)).tolist()


def test_sixteen_bits_are_windowed_to_their_range() -> None:
    image = read(save(PIL.Image.fromarray(np.array([[100, 200], [300, 400]], np.uint16)), "PNG"))
    assert image.display().tolist() == [[0, 85], [170, 255]]


def test_palette_and_one_bit_png(rgb: np.ndarray) -> None:
    palette = PIL.Image.fromarray(rgb).quantize(16)
    assert np.array_equal(read(save(palette, "PNG")).pixels, np.asarray(palette.convert("RGB")))
    bits = np.eye(9, dtype=bool)
    image = read(save(PIL.Image.fromarray(bits), "PNG"))
    assert np.array_equal(image.display(), 255 * bits)
    assert image.bits == 1


def test_what_is_transparent_lies_on_black() -> None:
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 51]]], np.uint8)
    assert read(save(PIL.Image.fromarray(rgba), "PNG")).pixels.tolist() == [[[200, 100, 50], [0, 0, 0], [40, 20, 10]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture_upright(orientation: int) -> None:
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :8] = 255
    undo = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose}
    undo |= {6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, 3)}
    stored = np.ascontiguousarray(undo.get(orientation, np.asarray)(upright))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    image = read(save(PIL.Image.fromarray(stored), "JPEG", exif=exif, quality=95))
    assert np.abs(image.pixels - upright).max() < 12


def test_pages_of_a_tiff_are_frames(gray: np.ndarray) -> None:
    pages = [PIL.Image.fromarray(gray), PIL.Image.fromarray(255 - gray)]
    data = save(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert np.array_equal(read(data, 1).pixels, 255 - gray)
    assert read(data, 1).frames == 2
    with pytest.raises(FrameError, match="Frame 3 was asked for; the file has 2"):
        read(data, 2)


def test_float_tiff_keeps_its_values() -> None:
    values = np.array([[-1.5, 0.25], [3.0, 1000.0]], np.float32)
    assert np.array_equal(read(save(PIL.Image.fromarray(values), "TIFF")).pixels, values)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_a_cut_picture_is_refused_at_every_length(format_: str) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (40, 40, 3), np.uint8)
    data = save(PIL.Image.fromarray(noise), format_)
    for part in (0.2, 0.5, 0.9):
        with pytest.raises((TruncatedError, CodecError)):
            read(data[: int(len(data) * part)])


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = save(PIL.Image.new("1", (30000, 30000)), "PNG")
    assert len(bomb) < 200_000
    with pytest.raises(TooBigError, match="megapixels"):
        read(bomb)


def test_notes_in_a_picture_are_dropped_and_said(rgb: np.ndarray) -> None:
    exif = PIL.Image.Exif()
    exif[0x013B], exif[0x010E] = "Jane Doe", "knee of Jane Doe"
    image = read(save(PIL.Image.fromarray(rgb), "JPEG", exif=exif, comment=b"Jane Doe"))
    assert image.removed == ("Comment", "EXIF")
    assert "Jane" not in repr(facts(image)) + repr(image)


def test_a_damaged_header_is_said_without_quoting_it(rgb: np.ndarray) -> None:
    data = save(PIL.Image.fromarray(rgb), "PNG")
    with pytest.raises(ImageError) as caught:
        read(data[:12] + b"DOE^JANE" + data[20:])
    assert "DOE" not in str(caught.value)
