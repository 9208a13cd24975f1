"""PNG, JPEG, TIFF, BMP and WebP to an Image, by Pillow; what Pillow would cut to 8 bits or not open by imagecodecs.

Runs in the decoding child only.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import PIL.Image
import PIL.ImageChops
import PIL.ImageCms
import PIL.PngImagePlugin
from imagecodecs import jpeg8_decode, jpegls_decode, png_decode

from kdlight.contracts.image import Image
from kdlight.images import tiff
from kdlight.images.codecs import decode_stream
from kdlight.images.codestream import codestream, segments
from kdlight.images.errors import (
    CodecError,
    FrameError,
    HeaderError,
    ImageError,
    TooBigError,
    TruncatedError,
    UnsupportedError,
)
from kdlight.images.limits import LIMITS, check_parts, check_pixels
from kdlight.images.raster import Raster, shown

PIL.Image.MAX_IMAGE_PIXELS = LIMITS.pixels
PIL.PngImagePlugin.MAX_TEXT_CHUNK = PIL.PngImagePlugin.MAX_TEXT_MEMORY = LIMITS.inflated
"""Notes and color profiles of several megabytes are common, and no reason to refuse a picture."""
_ORIENTATION, _WHITE_IS_ZERO = 0x0112, (262, 0)
_FRAMED = ("tiff", "webp", "png")
_WIDE = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_NOTES = {"exif": "EXIF", "xmp": "XMP", "XML:com.adobe.xmp": "XMP", "comment": "Comment", "photoshop": "IPTC"}
_TIFF_NOTES = {700: "XMP", 33723: "IPTC", 34377: "IPTC", 34665: "EXIF"}
_CUT = ("truncated", "unexpected end", "end of file", "incomplete", "eof", "not enough", "too small")
"""How the libraries say that a file ends too early."""
_SCAN = 0xDA
_JPEG_KINDS = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2), "JPEG"),
    0xC3: "lossless JPEG",
    **dict.fromkeys((0xC5, 0xC6, 0xC7), "hierarchical JPEG"),
    **dict.fromkeys((0xC9, 0xCA, 0xCB), "JPEG with arithmetic coding"),
    **dict.fromkeys((0xCD, 0xCE, 0xCF), "hierarchical JPEG with arithmetic coding"),
    0xF7: "JPEG-LS",
}
"""Kinds of JPEG by the marker of their frame header (ITU-T T.81 table B.1, T.87)."""


def decode_picture(data: bytes, frame: int, format_: str) -> Image:
    """One page of a picture. Raises ImageError with the reason for a refusal."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        try:
            for count, _ in enumerate(_parts(data, format_), 1):
                check_parts(count)
            return _deep(data, frame, format_) or _by_pillow(data, frame, format_)
        except (ImageError, MemoryError):
            raise
        except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError):
            raise TooBigError(f"The picture has more than {LIMITS.pixels // 1_000_000} megapixels.") from None
        except PIL.UnidentifiedImageError:
            raise _unidentified(data, format_) from None
        except Exception as error:  # noqa: BLE001  Pillow raises OSError, SyntaxError, ValueError, struct.error, ...
            raise _reason(error, format_) from None


def count_pages(data: bytes, format_: str) -> int:
    """Pages of a TIFF, pictures of an animated WebP or PNG; 1 for others. Raises what Pillow and tifffile raise."""
    if format_ == "tiff":
        return max(1, len(tiff.pages(BytesIO(data))))
    if format_ not in _FRAMED:
        return 1
    for count, _ in enumerate(_parts(data, format_), 1):
        check_parts(count)
    with PIL.Image.open(BytesIO(data), formats=[format_]) as picture:
        return int(getattr(picture, "n_frames", 1))


def _parts(data: bytes, format_: str) -> Iterator[int]:
    """Where the chunks of a PNG begin, and the segments and bytes of filling that lie before the scan of a JPEG."""
    at = {"png": 8, "jpeg": 2}.get(format_, len(data))
    while at + 4 <= len(data):
        yield at
        if format_ == "png":
            at += 12 + int.from_bytes(data[at : at + 4], "big")
        elif data[at] != 0xFF or data[at + 1] in (0, 0xFF):
            at += 1
        elif data[at + 1] == _SCAN:
            return
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _deep(data: bytes, frame: int, format_: str) -> Image | None:
    """What Pillow does not read in full: deep TIFF, color or alpha of 16 bits in PNG, JPEG of other than 8 bits."""
    if format_ == "tiff":
        pages = tiff.pages(BytesIO(data))
        if not 0 <= frame < len(pages) or not tiff.is_deep(pages[frame]):
            return None
        notes = {name for tag, name in _TIFF_NOTES.items() if tag in pages[frame].tags}
        raster = tiff.raster_of(data, pages[frame])
        return _image(raster, raster.bits, format_, (frame, len(pages)), notes)
    if frame == 0 and format_ == "png" and data[24] == 16 and data[25] in (2, 4, 6):
        return _with_notes(png_decode(data), 16, data, format_)
    if frame == 0 and format_ == "jpeg" and (kind := _jpeg_kind(data)) not in ("", "an 8-bit JPEG"):
        return _deep_jpeg(data, kind)
    return None


def _by_pillow(data: bytes, frame: int, format_: str) -> Image:
    with PIL.Image.open(BytesIO(data), formats=[format_.upper()]) as picture:
        check_pixels(picture.height, picture.width)
        frames = getattr(picture, "n_frames", 1) if format_ in _FRAMED else 1
        if not 0 <= frame < frames:
            raise FrameError(f"Frame {frame + 1} was asked for; the file has {frames}.")
        if frame:
            picture.seek(frame)
            check_pixels(picture.height, picture.width)
        notes, bits = _notes(picture), _bits(picture, data, format_)
        wide = picture.mode in _WIDE
        white = wide and getattr(picture, "tag_v2", {}).get(_WHITE_IS_ZERO[0]) == _WHITE_IS_ZERO[1]
        picture.load()
        orientation = picture.getexif().get(_ORIENTATION, 1)
        values = np.asarray(picture) if wide else _bytes(picture)
    return _image(Raster(values, bits if wide else 8, orientation, white), bits, format_, (frame, frames), notes)


def _image(raster: Raster, bits: int, format_: str, place: tuple[int, int], notes: set[str]) -> Image:
    """`bits`: per sample in the file. `place`: frame and frames."""
    pixels, windows = shown(raster)
    inverted = raster.white_is_zero and pixels.ndim == 2
    return Image(
        pixels=pixels,
        sha256="",
        format=format_,
        bits=bits,
        windows=windows,
        inverted=inverted,
        frame=place[0],
        frames=place[1],
        removed=tuple(sorted(notes)),
        photometric="RGB" if pixels.ndim == 3 else "MONOCHROME1" if inverted else "MONOCHROME2",
    )


def _deep_jpeg(data: bytes, kind: str) -> Image | None:
    """12 bits, lossless or JPEG-LS; None where Pillow may say what is wrong with it."""
    try:
        stream = codestream(data)
    except (CodecError, HeaderError):
        return None
    check_pixels(stream.rows, stream.columns)
    if stream.end is None:
        raise TruncatedError("The JPEG file is truncated: a part of the picture is missing.")
    try:
        if stream.kind == "lossless":
            values = decode_stream(data, stream)
        else:
            values = np.asarray(jpeg8_decode(data) if stream.kind == "jpeg" else jpegls_decode(data))
    except TruncatedError:
        raise
    except Exception:  # noqa: BLE001  each decoder has errors of its own
        raise UnsupportedError(
            f"The file is {kind}, and this one cannot be decoded here. Save it as PNG and try again."
        ) from None
    if values.ndim == 3 and values.shape[2] != 3:
        raise UnsupportedError(
            f"The file is {kind} of {values.shape[2]} components, which is not read here. Save it as PNG."
        )
    return _with_notes(values, stream.precision, data, "jpeg")


def _with_notes(values: np.ndarray, bits: int, data: bytes, format_: str) -> Image:
    """A PNG or JPEG by its samples; Pillow reads what stands beside them."""
    with PIL.Image.open(BytesIO(data if format_ == "png" else _as_baseline(data)), formats=[format_]) as picture:
        frames = getattr(picture, "n_frames", 1) if format_ in _FRAMED else 1
        raster = Raster(values, bits, picture.getexif().get(_ORIENTATION, 1))
        return _image(raster, bits, format_, (0, frames), _notes(picture))


def _as_baseline(data: bytes) -> bytes:
    """The JPEG with a frame header of 8 bits, since Pillow opens no other; its samples make no sense then."""
    at = next(end - len(content) for marker, content, end in segments(data) if marker in _JPEG_KINDS)
    return data[: at - 3] + b"\xc0" + data[at - 2 : at] + b"\x08" + data[at + 1 :]


def _jpeg_kind(data: bytes) -> str:
    """What a JPEG is by its first frame header, such as a 16-bit arithmetic JPEG; empty where it has none."""
    with contextlib.suppress(CodecError):
        for marker, content, _ in segments(data):
            if marker in _JPEG_KINDS and content:
                return f"{'an' if content[0] == 8 else 'a'} {content[0]}-bit {_JPEG_KINDS[marker]}"
    return ""


def _bytes(picture: PIL.Image.Image) -> np.ndarray:
    """8 bits and less as uint8 gray (H, W) or RGB (H, W, 3); what is transparent lies on black.

    An alpha channel of zeros everywhere, as programs leave in a BMP, would show nothing and is taken for none.
    """
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        if over.getchannel("A").getextrema() == (0, 0):
            picture = over.convert("RGB")
        else:
            picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", over.size, (0, 0, 0, 255)), over)
    return np.asarray(picture.convert("L") if picture.mode in ("1", "L") else _rgb(picture))


def _rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Lab by its own definition; CMYK as Adobe writes it (inverted), or not inverted where that would be all black."""
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


def _notes(picture: PIL.Image.Image) -> set[str]:
    """Which kinds of notes the file carried; none is kept. EXIF is one if it holds more than the orientation."""
    names = {name for key, name in _NOTES.items() if picture.info.get(key)}
    names |= {"Text"} if getattr(picture, "text", None) else set()
    beyond = picture.format != "TIFF" and set(picture.getexif()) - {_ORIENTATION}
    return names | ({"EXIF"} if beyond else set())


def _unidentified(data: bytes, format_: str) -> ImageError:
    """What a file is that Pillow does not open, where its header says so."""
    if format_ == "tiff" and (pages := tiff.pages(BytesIO(data))):
        return tiff.unsupported(pages[0])
    if format_ == "jpeg" and (kind := _jpeg_kind(data)):
        return UnsupportedError(f"The file is {kind}, which is not read here. Save it as PNG and try again.")
    return CodecError(f"The file begins like {_name(format_)}, but its header is damaged.")


def _reason(error: Exception, format_: str) -> ImageError:
    words = str(error).lower()
    if "max_text" in words or "text memory" in words:
        return TooBigError(f"The notes in the {_name(format_)} file take more than {LIMITS.inflated // 2**20} MB.")
    if any(word in words for word in _CUT):
        return TruncatedError(f"The {_name(format_)} file is truncated: a part of the picture is missing.")
    return CodecError(f"The {_name(format_)} file cannot be decoded; it is damaged or in a form that is not supported.")


def _name(format_: str) -> str:
    return {"webp": "WebP"}.get(format_, format_.upper())
