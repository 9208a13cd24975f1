"""PNG, JPEG, TIFF, BMP and WebP, written here by Pillow with pixels that are known."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import tifffile
from PIL.PngImagePlugin import PngInfo

from kdlight.images import read
from kdlight.images.errors import CodecError, FrameError, ImageError, TooBigError, TruncatedError, UnsupportedError


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
    assert "Jane" not in repr(image.facts) + repr(image)


def test_a_damaged_header_is_said_without_quoting_it(rgb: np.ndarray) -> None:
    data = save(PIL.Image.fromarray(rgb), "PNG")
    with pytest.raises(ImageError) as caught:
        read(data[:12] + b"DOE^JANE" + data[20:])
    assert "DOE" not in str(caught.value)


# --- more than 8 bits, signs, floats --------------------------------------------------------------------------------

WIDE = np.array([[0, 1, 256], [4095, 40000, 65535]], np.uint16)
UNDO = {
    1: np.asarray,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 3),
}
"""Upright to stored, by the EXIF orientation."""


def tiff(values: np.ndarray, order: str = "<", data: bytes | None = None, **tags: int) -> bytes:
    """An uncompressed TIFF of one strip, tag by tag; `data` replaces the strip. tags: by number, as `t262=0`."""
    body = values.astype(values.dtype.newbyteorder(order)).tobytes() if data is None else data
    kind = {"u": 1, "i": 2, "f": 3, "c": 6}[values.dtype.kind]
    samples = values.shape[2] if values.ndim == 3 else 1
    found = {256: values.shape[1], 257: values.shape[0], 258: 8 * values.dtype.itemsize, 259: 1}
    found |= {262: 2 if samples >= 3 else 1, 273: 0, 277: samples, 278: values.shape[0], 279: len(body), 339: kind}
    found |= {int(name[1:]): value for name, value in tags.items()}
    found[273] = 14 + 12 * len(found)
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(found.items()))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(found))
    return head + entries + bytes(4) + body


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_sixteen_bits_beside_an_alpha_channel_are_kept() -> None:
    opaque = imagecodecs.png_encode(np.stack([WIDE, np.full_like(WIDE, 65535)], axis=-1))
    plain = read(imagecodecs.png_encode(WIDE))
    image = read(opaque)
    assert np.array_equal(image.pixels, WIDE)
    assert (image.bits, image.windows) == (16, plain.windows)
    assert np.array_equal(image.display(), plain.display())


def test_twelve_bits_in_a_gray_png_with_alpha_fill_the_display() -> None:
    twelve = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    image = read(imagecodecs.png_encode(np.stack([twelve, np.full_like(twelve, 65535)], axis=-1)))
    assert (image.display().min(), image.display().max()) == (0, 255)


def test_half_transparent_sixteen_bits_lie_on_black() -> None:
    alpha = np.array([[65535, 0, 32768], [65535, 65535, 0]], np.uint16)
    image = read(imagecodecs.png_encode(np.stack([WIDE, alpha], axis=-1)))
    assert image.pixels.tolist() == [[0, 0, 128], [4095, 40000, 0]]


@pytest.mark.parametrize("channels", [3, 4])
def test_color_of_sixteen_bits_is_scaled_and_rounded_not_cut(channels: int) -> None:
    wide = np.random.default_rng(0).integers(0, 65536, (9, 7, channels)).astype(np.uint16)
    wide[..., 3:] = 65535
    expected = np.rint(wide[..., :3] * (255 / 65535))
    for data in (imagecodecs.png_encode(wide), tiff(wide, t338=2) if channels == 4 else tiff(wide)):
        image = read(data)
        assert image.bits == 16
        assert np.array_equal(image.pixels, expected)
    twelve = wide[..., :3] // 16
    assert np.array_equal(read(imagecodecs.png_encode(twelve)).pixels, np.rint(twelve * (255 / 4095)))


@pytest.mark.parametrize("depth", [8, 10, 12, 14, 16])
def test_color_in_words_of_sixteen_bits_is_shown_by_the_bits_it_has(depth: int) -> None:
    """The brightest sample is white, whichever of a camera's depths the words hold."""
    values = np.random.default_rng(1).integers(0, 2**depth, (9, 7, 3)).astype(np.uint16)
    values[0, 0] = 2**depth - 1
    for data in (imagecodecs.png_encode(values), tiff(values)):
        assert np.array_equal(read(data).pixels, np.rint(values * (255 / (2**depth - 1))))


def test_gray_in_three_channels_of_sixteen_bits_keeps_its_values() -> None:
    assert np.array_equal(read(imagecodecs.png_encode(np.stack([WIDE] * 3, axis=-1))).pixels, WIDE)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "kind", ["int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"]
)
def test_every_number_of_a_tiff_keeps_its_value(kind: str, order: str) -> None:
    numbers = np.dtype(kind)
    if numbers.kind == "f":
        values = np.linspace(-2, 3, 30).astype(numbers).reshape(5, 6)
    else:
        limits = np.iinfo(numbers)
        values = np.array([[limits.min, limits.min // 2], [limits.max // 3, limits.max]], numbers)
    image = read(tiff(values, order))
    assert np.array_equal(image.pixels, values.astype(np.float32))
    assert image.bits == 8 * numbers.itemsize
    assert (image.display().min(), image.display().max()) == (0, 255)
    assert image.display()[0, 0] == 0


def test_color_floats_and_planes_of_a_tiff() -> None:
    rgb = np.random.default_rng(1).random((6, 5, 3)).astype(np.float32)
    assert np.array_equal(read(tiff(rgb)).pixels, np.rint(rgb * 255))
    assert np.array_equal(read(tiff(np.rint(rgb * 255))).pixels, np.rint(rgb * 255))
    wide = (rgb * 65535).astype(np.uint16)
    planes = imagecodecs.tiff_encode(np.ascontiguousarray(wide.transpose(2, 0, 1)), photometric="rgb", planarconfig=2)
    assert np.array_equal(read(planes).pixels, np.rint(wide * (255 / 65535)))


def test_compressed_tiles_and_predictors_of_a_tiff() -> None:
    wide = np.random.default_rng(2).integers(0, 65536, (40, 50)).astype(np.uint16)
    for options in ({"compression": "lzw", "predictor": 2}, {"tile": (16, 16)}, {"bigtiff": True}):
        assert np.array_equal(read(imagecodecs.tiff_encode(wide, **options)).pixels, wide)
    floats = wide.astype(np.float32) / 7
    assert np.array_equal(read(imagecodecs.tiff_encode(floats, compression="deflate", predictor=3)).pixels, floats)


def test_jpeg_2000_in_a_tiff_is_read() -> None:
    rgb = np.random.default_rng(3).integers(0, 256, (20, 30, 3), np.uint8)
    stream = imagecodecs.jpeg2k_encode(rgb, level=0, codecformat="j2k")
    assert np.array_equal(read(tiff(rgb, data=stream, t259=34712)).pixels, rgb)
    with pytest.raises(TruncatedError):
        read(tiff(rgb, data=stream, t259=34712)[:-40])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiff(np.ones((4, 4), np.complex64)), "a TIFF of 64-bit complex gray samples, which is not read"),
        (tiff(WIDE, data=bytes(60), t259=34661), "16-bit unsigned gray samples with JBIG compression"),
        (tiff(WIDE.astype(np.uint8), data=bytes(60), t259=50002), "gray samples with JPEG XL compression"),
    ],
)
def test_a_tiff_that_is_not_read_is_called_what_it_is(data: bytes, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        read(data)


@pytest.mark.parametrize("compression", ["jpegxl", "png", "zstd", "lerc"])
def test_a_tiff_of_a_newer_compression_is_read(compression: str) -> None:
    file = BytesIO()
    tifffile.imwrite(file, WIDE.repeat(20, 0).repeat(20, 1), compression=compression)
    assert np.array_equal(read(file.getvalue()).pixels, WIDE.repeat(20, 0).repeat(20, 1))


def test_values_that_lerc_masks_are_empty() -> None:
    values = np.linspace(1, 2, 400, dtype=np.float32).reshape(20, 20)
    values[:5] = np.nan
    file = BytesIO()
    tifffile.imwrite(file, values, compression="lerc")
    assert read(file.getvalue()).pixels.min() == values[5, 0]


def test_a_damaged_stream_in_a_tiff_is_refused_and_never_filled_with_what_lay_in_memory() -> None:
    wide = np.random.default_rng(2).integers(0, 65536, (40, 50)).astype(np.uint16)
    data = bytearray(imagecodecs.tiff_encode(wide, compression="deflate"))
    at = len(data) // 2
    data[at : at + 8] = bytes(8)
    with pytest.raises(CodecError):
        read(bytes(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_are_turned_upright_too(orientation: int) -> None:
    upright = np.arange(6 * 9, dtype=np.uint16).reshape(6, 9) * 1000
    stored = np.ascontiguousarray(UNDO[orientation](upright))
    assert np.array_equal(read(tiff(stored, t274=orientation)).pixels, upright)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    png = imagecodecs.png_encode(np.stack([stored, np.full_like(stored, 65535)], axis=-1))
    turned = png[:33] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + png[33:]
    assert np.array_equal(read(turned).pixels, upright)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_cut_pictures_of_many_bits_are_called_truncated(part: float) -> None:
    noise = np.random.default_rng(4).integers(0, 65536, (40, 40, 3)).astype(np.uint16)
    twelve = imagecodecs.jpeg8_encode(noise[..., 0] // 16, level=95, bitspersample=12)
    for data in (imagecodecs.png_encode(noise), tiff(noise), twelve):
        with pytest.raises(TruncatedError):
            read(data[: int(len(data) * part)])


def test_jpeg_of_twelve_bits_and_lossless_jpeg_are_read() -> None:
    wave = (2048 + 2000 * np.sin(np.arange(64) / 9)[:, None] * np.cos(np.arange(48) / 7)).astype(np.uint16)
    image = read(imagecodecs.jpeg8_encode(wave, level=98, bitspersample=12))
    assert image.bits == 12
    assert np.abs(image.pixels - wave).max() < 25
    assert np.array_equal(read(imagecodecs.ljpeg_encode(wave)).pixels, wave)
    assert np.array_equal(read(imagecodecs.jpegls_encode(wave)).pixels, wave)
    color = np.stack([wave, wave[::-1], wave // 2], axis=-1)
    image = read(imagecodecs.jpeg8_encode(color, level=98, bitspersample=12, subsampling="444"))
    assert np.abs(image.pixels - color * (255 / 4095)).max() < 4


@pytest.mark.parametrize("cut", [slice(600, 664), slice(1500, 1564), slice(900, -2)])
def test_a_lossless_jpeg_with_a_hole_is_refused_and_never_filled_with_what_lay_in_memory(cut: slice) -> None:
    wave = (2048 + 2000 * np.sin(np.arange(64) / 9)[:, None] * np.cos(np.arange(48) / 7)).astype(np.uint16)
    data = bytearray(imagecodecs.ljpeg_encode(wave))
    del data[cut]
    with pytest.raises(TruncatedError, match="lossless JPEG frame is missing"):
        read(bytes(data))


def test_notes_of_a_jpeg_that_pillow_does_not_open_are_said() -> None:
    data = imagecodecs.jpeg8_encode(WIDE // 16, level=95, bitspersample=12)
    comment = b"\xff\xfe\x00\x0aJane Doe"
    assert read(data[:2] + comment + data[2:]).removed == ("Comment",)


def test_packed_bits_and_white_first() -> None:
    values = np.arange(8, dtype=np.uint16).reshape(2, 4) * 500
    packed = np.packbits((values[..., None] >> np.arange(11, -1, -1)) & 1).tobytes()
    assert np.array_equal(read(tiff(values, data=packed, t258=12)).pixels, values)
    image = read(tiff(WIDE, t262=0))
    assert image.inverted
    assert image.photometric == "MONOCHROME1"
    assert (image.display()[0, 0], image.display()[1, 2]) == (255, 0)


# --- windows that show the picture ----------------------------------------------------------------------------------


def test_a_hot_pixel_does_not_take_the_contrast() -> None:
    values = np.tile(np.arange(1000, dtype=np.uint16), (4, 1))
    values[2, 500] = 65535
    image = read(tiff(values))
    assert np.array_equal(image.pixels, values)
    assert np.abs(image.display()[0].astype(int) - np.arange(1000) * 255 / 999).max() < 1
    assert [window.name for window in image.windows] == ["fit", "full"]


@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf, -3.4e38, float(np.finfo(np.float32).min)])
def test_values_for_no_data_are_the_lowest_that_was_measured(nothing: float) -> None:
    values = np.linspace(1, 2, 400, dtype=np.float32).reshape(20, 20)
    values[:5] = nothing
    image = read(tiff(values))
    assert image.pixels.min() == values[5, 0]
    assert image.display()[5, 0] == 0
    assert image.display()[19, 19] == 255


def test_a_picture_without_a_number_is_refused() -> None:
    with pytest.raises(ImageError, match="no finite number"):
        read(tiff(np.full((4, 4), np.nan, np.float32)))


# --- transparency, inks, notes --------------------------------------------------------------------------------------


def bmp(rgba: np.ndarray) -> bytes:
    """A BMP of 32 bits with a version 4 header, whose masks name an alpha channel."""
    rows, columns = rgba.shape[:2]
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    info = struct.pack("<IiiHHIIiiII", 108, columns, rows, 1, 32, 3, 4 * rows * columns, 0, 0, 0, 0)
    head = info + masks + b"BGRs" + bytes(48)
    body = rgba[::-1][..., [2, 1, 0, 3]].tobytes()
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body


def test_an_alpha_channel_of_zeros_is_none(rgb: np.ndarray) -> None:
    rgba = np.concatenate([rgb, np.zeros_like(rgb[..., :1])], axis=-1)
    assert np.array_equal(read(bmp(rgba)).pixels, rgb)
    assert np.array_equal(read(save(PIL.Image.fromarray(rgba), "PNG")).pixels, rgb)
    rgba[0, 0, 3] = 255
    assert np.array_equal(read(bmp(rgba)).pixels[0, 0], rgb[0, 0])
    assert not read(bmp(rgba)).pixels[1:].any()


def test_colors_multiplied_with_their_alpha_already_lie_on_black_as_they_are(rgb: np.ndarray, gray: np.ndarray) -> None:
    half = np.full_like(gray[..., None], 128)
    color = np.concatenate([rgb, half], axis=-1)
    assert np.array_equal(read(tiff(color, t338=1)).pixels, rgb)
    assert np.array_equal(read(tiff(color, t338=0)).pixels, rgb)
    assert np.abs(read(tiff(color, t338=2)).pixels - rgb * (128 / 255)).max() <= 1
    image = read(tiff(np.concatenate([gray[..., None], half], axis=-1), t338=1))
    assert np.array_equal(image.display(), gray)


def test_cmyk_without_a_picture_in_its_inverse_is_not_inverted() -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., :3] = np.arange(0, 256, 16, dtype=np.uint8)[:, None]
    picture = PIL.Image.fromarray(inks, "CMYK")
    usual = read(save(picture, "JPEG", quality=98))
    assert np.abs(usual.pixels[:, 0].astype(int) - (255 - inks[:, 0, 0])).max() < 9
    odd = read(save(PIL.Image.fromarray(255 - inks, "CMYK"), "JPEG", quality=98))
    assert np.ptp(odd.pixels) > 200


def test_lab_is_turned_into_rgb() -> None:
    srgb, lab = PIL.ImageCms.createProfile("sRGB"), PIL.ImageCms.createProfile("LAB")
    picture = PIL.ImageCms.profileToProfile(PIL.Image.new("RGB", (4, 4), (200, 30, 40)), srgb, lab, outputMode="LAB")
    assert picture is not None
    assert np.abs(read(save(picture, "TIFF")).pixels.astype(int) - [200, 30, 40]).max() <= 3


def test_notes_and_profiles_of_megabytes_are_no_reason_to_refuse(gray: np.ndarray) -> None:
    info = PngInfo()
    info.add_text("a", "x" * 2_000_000, zip=True)
    info.add_itxt("b", "y" * 2_000_000)
    image = read(save(PIL.Image.fromarray(gray), "PNG", pnginfo=info))
    assert np.array_equal(image.pixels, gray)
    assert image.removed == ("Text",)
    profile = np.random.default_rng(5).bytes(2_000_000)
    assert np.array_equal(read(save(PIL.Image.fromarray(gray), "PNG", icc_profile=profile)).pixels, gray)


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_pictures_of_an_animation_are_frames(format_: str) -> None:
    shades = [PIL.Image.new("RGB", (16, 16), (shade, 200, 30)) for shade in (10, 250)]
    options = {"lossless": True} if format_ == "WEBP" else {}
    data = save(shades[0], format_, save_all=True, append_images=shades[1:], **options)
    assert [read(data, frame).pixels[0, 0, 0] for frame in (0, 1)] == [10, 250]
    assert read(data).frames == 2


def test_pages_of_a_tiff_may_differ_in_kind(gray: np.ndarray, rgb: np.ndarray) -> None:
    wide = gray.astype(np.uint16) * 256
    pages = [PIL.Image.fromarray(page) for page in (wide, rgb, gray, wide.astype(np.float32))]
    data = save(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    for frame, page in enumerate((wide, rgb, gray, wide)):
        image = read(data, frame)
        assert np.array_equal(image.pixels, page)
        assert image.frames == 4
    with pytest.raises(FrameError, match="Frame 5 was asked for; the file has 4"):
        read(data, 4)
