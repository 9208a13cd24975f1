"""PNG, JPEG, TIFF, BMP and WebP to an Image, by Pillow. Runs in the decoding child only."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import numpy as np
import PIL.Image
import PIL.ImageChops
import PIL.ImageCms
import PIL.ImageOps
import PIL.PngImagePlugin

from kdlight.images import deep, tiff
from kdlight.images.codestream import segments
from kdlight.images.deep import Samples, as_color, as_gray, gray_or_color
from kdlight.images.errors import CodecError, FrameError, ImageError, TooBigError, TruncatedError, UnsupportedError
from kdlight.images.image import Image
from kdlight.images.limits import LIMITS, check_pixels
from kdlight.modality import Window

PIL.Image.MAX_IMAGE_PIXELS = LIMITS.pixels
PIL.PngImagePlugin.MAX_TEXT_CHUNK = PIL.PngImagePlugin.MAX_TEXT_MEMORY = LIMITS.inflated
"""Notes and color profiles of several megabytes are common, and no reason to refuse a picture."""
_ORIENTATION, _WHITE_IS_ZERO = 0x0112, (262, 0)
_SCAN, _COMMENT, _APP1, _APP13 = 0xDA, 0xFE, 0xE1, 0xED
_FRAMED = ("tiff", "webp", "png")
_SECRET_TAGS = {700: "XMP", 33723: "IPTC", 34377: "IPTC", 34665: "EXIF"}
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
"""How samples are turned upright, by the EXIF orientation."""
_WIDE = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_SECRETS = {"exif": "EXIF", "xmp": "XMP", "XML:com.adobe.xmp": "XMP", "comment": "Comment", "photoshop": "IPTC"}


def decode_picture(data: bytes, frame: int, format_: str) -> Image:
    """One page of a picture. Raises ImageError with the reason for a refusal."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        try:
            if format_ == "tiff" and (page := _deep_page(data, frame)) is not None:
                return _deep_tiff(data, frame, *page)
            if frame == 0 and (samples := deep.samples_of(data, format_)) is not None:
                return _deep(samples, data, format_)
            with PIL.Image.open(BytesIO(data), formats=[format_.upper()]) as picture:
                return _read(picture, data, frame, format_)
        except (ImageError, MemoryError):
            raise
        except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError):
            raise TooBigError(f"The picture has more than {LIMITS.pixels // 1_000_000} megapixels.") from None
        except PIL.UnidentifiedImageError:
            raise _unidentified(data, format_) from None
        except Exception as error:  # noqa: BLE001  Pillow raises OSError, SyntaxError, ValueError, struct.error, ...
            raise _reason(error, format_) from None


def _read(picture: PIL.Image.Image, data: bytes, frame: int, format_: str) -> Image:
    check_pixels(picture.height, picture.width)
    frames = getattr(picture, "n_frames", 1) if format_ in _FRAMED else 1
    _require_frame(frame, frames)
    if frame:
        picture.seek(frame)
        check_pixels(picture.height, picture.width)
    dropped = _dropped(picture)
    bits = _bits(picture, data, format_)
    white = picture.mode in _WIDE and getattr(picture, "tag_v2", {}).get(_WHITE_IS_ZERO[0]) == _WHITE_IS_ZERO[1]
    picture.load()
    upright = PIL.ImageOps.exif_transpose(picture)
    pixels, windows = as_gray(Samples(np.asarray(upright), bits)) if picture.mode in _WIDE else _bytes(upright)
    return _image(pixels, windows, format_, bits, white, (frame, frames), dropped)


def _image(
    pixels: np.ndarray,
    windows: tuple[Window, ...],
    format_: str,
    bits: int,
    white: bool,
    place: tuple[int, int],
    dropped: tuple[str, ...],
) -> Image:
    """`place`: frame and frames."""
    gray = "MONOCHROME1" if white else "MONOCHROME2"
    return Image(
        pixels=pixels,
        sha256="",
        format=format_,
        bits=bits,
        windows=windows,
        inverted=white,
        frame=place[0],
        frames=place[1],
        removed=dropped,
        photometric=gray if pixels.ndim == 2 else "RGB",
    )


def _require_frame(frame: int, frames: int) -> None:
    if not 0 <= frame < frames:
        raise FrameError(f"Frame {frame + 1} was asked for; the file has {frames}.")


def _deep_page(data: bytes, frame: int) -> tuple[tiff.Page, int] | None:
    """The page that is asked for and how many there are, where it is not for Pillow."""
    found = tiff.pages(BytesIO(data))
    return (found[frame], len(found)) if 0 <= frame < len(found) and found[frame].is_deep else None


def _deep_tiff(data: bytes, frame: int, page: tiff.Page, frames: int) -> Image:
    samples = tiff.samples_of(data, page, frame)
    dropped = tuple(sorted({word for tag, word in _SECRET_TAGS.items() if tag in page.tags}))
    return _shown(samples, "tiff", page.number(_ORIENTATION, 1), (frame, frames), dropped)


def _deep(samples: Samples, data: bytes, format_: str) -> Image:
    """A PNG or JPEG by its samples; Pillow reads what stands beside them, where it opens the file."""
    try:
        with PIL.Image.open(BytesIO(data), formats=[format_.upper()]) as picture:
            frames = getattr(picture, "n_frames", 1) if format_ in _FRAMED else 1
            dropped, orientation = _dropped(picture), picture.getexif().get(_ORIENTATION, 1)
    except PIL.UnidentifiedImageError:
        dropped, orientation, frames = *_jpeg_notes(data), 1
    return _shown(samples, format_, orientation, (0, frames), dropped)


def _shown(samples: Samples, format_: str, orientation: int, place: tuple[int, int], dropped: tuple[str, ...]) -> Image:
    plain = gray_or_color(samples)
    plain = replace(plain, values=_UPRIGHT.get(orientation, np.asarray)(plain.values))
    gray = plain.values.ndim == 2
    pixels, windows = as_gray(plain) if gray else (as_color(plain), ())
    return _image(pixels, windows, format_, samples.bits, gray and samples.white_is_zero, place, dropped)


def _jpeg_notes(data: bytes) -> tuple[tuple[str, ...], int]:
    """Kinds of notes in a JPEG that Pillow does not open, and its orientation."""
    names, orientation = set(), 1
    for marker, content, _ in segments(data):
        if marker == _COMMENT:
            names.add("Comment")
        elif marker == _APP1 and content.startswith(b"Exif\0\0"):
            exif = PIL.Image.Exif()
            exif.load(content)
            orientation = exif.get(_ORIENTATION, 1)
            names |= {"EXIF"} if set(exif) - {_ORIENTATION} else set()
        elif marker == _APP1 and content.startswith(b"http://ns.adobe.com/xap/"):
            names.add("XMP")
        elif marker == _APP13:
            names.add("IPTC")
        elif marker == _SCAN:
            break
    return tuple(sorted(names)), orientation


def _bytes(picture: PIL.Image.Image) -> tuple[np.ndarray, tuple[Window, ...]]:
    """8 bits and less: gray where all three channels are equal, else RGB; what is transparent lies on black.

    An alpha channel of zeros everywhere, as programs leave in a BMP, would show nothing and is taken for none.
    """
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        if over.getchannel("A").getextrema() == (0, 0):
            picture = over.convert("RGB")
        else:
            picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", over.size, (0, 0, 0, 255)), over)
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L")).astype(np.float32), (Window(127.5, 255, "full"),)
    rgb = np.asarray(_rgb(picture))
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all():
        return rgb[..., 0].astype(np.float32), (Window(127.5, 255, "full"),)
    return np.ascontiguousarray(rgb), ()


def _rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Lab by its own definition; CMYK as Adobe writes it (inverted), or not inverted where that would be all black.

    Readers differ on CMYK without a word on its inversion; of the two readings the one with a picture in it is taken.
    """
    if picture.mode == "LAB":
        lab, srgb = PIL.ImageCms.createProfile("LAB"), PIL.ImageCms.createProfile("sRGB")
        turned = PIL.ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
        return turned if turned is not None else picture
    if picture.mode == "CMYK" and picture.getchannel("K").getextrema() == (255, 255):
        picture = PIL.ImageChops.invert(picture)
    return picture.convert("RGB")


def _bits(picture: PIL.Image.Image, data: bytes, format_: str) -> int:
    """Bits per sample as stored."""
    if format_ == "png":
        return data[24]
    if format_ == "tiff":
        values = dict(getattr(picture, "tag_v2", {})).get(258, (1,))
        return int(max(values)) if isinstance(values, tuple) else int(values)
    return 1 if picture.mode == "1" else 8


def _dropped(picture: PIL.Image.Image) -> tuple[str, ...]:
    """Which kinds of notes the file carried; none is kept."""
    names = {word for key, word in _SECRETS.items() if picture.info.get(key)}
    if getattr(picture, "text", None):
        names.add("Text")
    if format_has_tags(picture):
        names.add("EXIF")
    return tuple(sorted(names))


def format_has_tags(picture: PIL.Image.Image) -> bool:
    """EXIF beyond the orientation, which is applied."""
    return picture.format != "TIFF" and bool(set(picture.getexif()) - {_ORIENTATION})


def _unidentified(data: bytes, format_: str) -> ImageError:
    """What a file is that Pillow does not open, where its header says so."""
    if format_ == "tiff" and (found := tiff.pages(BytesIO(data))):
        return tiff.unsupported(found[0])
    if format_ == "jpeg" and (words := deep.jpeg_words(data)):
        return UnsupportedError(f"The file is {words}, which is not read here. Save it as PNG and try again.")
    return CodecError(f"The file begins like {_name(format_)}, but its header is damaged.")


def _reason(error: Exception, format_: str) -> ImageError:
    words = str(error).lower()
    if "max_text" in words or "text memory" in words:
        return TooBigError(f"The notes in the {_name(format_)} file take more than {LIMITS.inflated // 2**20} MB.")
    if any(
        w in words
        for w in ("truncated", "unexpected end", "end of file", "incomplete", "eof", "not enough", "too small")
    ):
        return TruncatedError(f"The {_name(format_)} file is truncated: a part of the picture is missing.")
    return CodecError(f"The {_name(format_)} file cannot be decoded; it is damaged or in a form that is not supported.")


def _name(format_: str) -> str:
    return {"webp": "WebP"}.get(format_, format_.upper())
