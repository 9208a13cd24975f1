"""PNG, JPEG, TIFF, BMP and WebP to an Image, by Pillow. Runs in the decoding child only."""

from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
import PIL.Image
import PIL.ImageOps

from kdlight.images.errors import CodecError, FrameError, HeaderError, ImageError, TooBigError, TruncatedError
from kdlight.images.image import Image
from kdlight.images.limits import LIMITS, check_pixels
from kdlight.modality import Window

PIL.Image.MAX_IMAGE_PIXELS = LIMITS.pixels
_ORIENTATION, _WHITE_IS_ZERO = 0x0112, (262, 0)
_WIDE = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_SECRETS = {"exif": "EXIF", "xmp": "XMP", "XML:com.adobe.xmp": "XMP", "comment": "Comment", "photoshop": "IPTC"}


def decode_picture(data: bytes, frame: int, format_: str) -> Image:
    """One page of a picture. Raises ImageError with the reason for a refusal."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        try:
            with PIL.Image.open(BytesIO(data), formats=[format_.upper()]) as picture:
                return _read(picture, data, frame, format_)
        except (ImageError, MemoryError):
            raise
        except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError):
            raise TooBigError(f"The picture has more than {LIMITS.pixels // 1_000_000} megapixels.") from None
        except PIL.UnidentifiedImageError:
            raise CodecError(f"The file begins like {_name(format_)}, but its header is damaged.") from None
        except Exception as error:  # noqa: BLE001  Pillow raises OSError, SyntaxError, ValueError, struct.error, ...
            raise _reason(error, format_) from None


def _read(picture: PIL.Image.Image, data: bytes, frame: int, format_: str) -> Image:
    check_pixels(picture.height, picture.width)
    frames = getattr(picture, "n_frames", 1) if format_ == "tiff" else 1
    if not 0 <= frame < frames:
        raise FrameError(f"Frame {frame + 1} was asked for; the file has {frames}.")
    if frame:
        picture.seek(frame)
        check_pixels(picture.height, picture.width)
    dropped = _dropped(picture)
    mode, bits = picture.mode, _bits(picture, data, format_)
    white = dict(getattr(picture, "tag_v2", {})).get(_WHITE_IS_ZERO[0]) == _WHITE_IS_ZERO[1]
    picture.load()
    upright = PIL.ImageOps.exif_transpose(picture)
    pixels, windows = _wide(upright, bits) if mode in _WIDE else _bytes(upright)
    return Image(
        pixels=pixels,
        sha256="",
        format=format_,
        bits=bits,
        windows=windows,
        inverted=mode in _WIDE and white,
        frame=frame,
        frames=frames,
        removed=dropped,
        photometric="MONOCHROME1" if mode in _WIDE and white else "MONOCHROME2" if pixels.ndim == 2 else "RGB",
    )


def _bytes(picture: PIL.Image.Image) -> tuple[np.ndarray, tuple[Window, ...]]:
    """8 bits and less: gray where all three channels are equal, else RGB; what is transparent lies on black."""
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", over.size, (0, 0, 0, 255)), over)
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L")).astype(np.float32), (Window(127.5, 255, "full"),)
    rgb = np.asarray(picture.convert("RGB"))
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all():
        return rgb[..., 0].astype(np.float32), (Window(127.5, 255, "full"),)
    return np.ascontiguousarray(rgb), ()


def _wide(picture: PIL.Image.Image, bits: int) -> tuple[np.ndarray, tuple[Window, ...]]:
    """More than 8 bits of gray, or floats: the values as they are, windowed to their range."""
    values = np.asarray(picture)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise HeaderError("The picture holds values that are no finite numbers.")
    pixels = values.astype(np.float32)
    low, high = float(pixels.min()), float(pixels.max())
    windows = [Window((low + high) / 2, high - low, "range")] if high > low else []
    if values.dtype.kind != "f" and low >= 0:
        windows.append(Window((2**bits - 1) / 2, 2**bits - 1, "full"))
    return pixels, tuple(windows) or (Window(low, max(1.0, abs(low)), "range"),)


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


def _reason(error: Exception, format_: str) -> ImageError:
    words = str(error).lower()
    if any(w in words for w in ("truncated", "unexpected end", "end of file", "incomplete", "eof", "not enough")):
        return TruncatedError(f"The {_name(format_)} file is truncated: a part of the picture is missing.")
    return CodecError(f"The {_name(format_)} file cannot be decoded; it is damaged or in a form that is not supported.")


def _name(format_: str) -> str:
    return {"webp": "WebP"}.get(format_, format_.upper())
