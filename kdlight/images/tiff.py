"""TIFF pages of more than 8 bits, with a sign, of floats or in JPEG 2000, by libtiff and OpenJPEG through imagecodecs.

Tags: TIFF 6.0 and its technical notes; 42113 is GDAL's value for no data; 34712, 33003 and 33005 are JPEG 2000.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from imagecodecs import jpeg2k_decode, tiff_decode
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from kdlight.images.deep import Samples, split_alpha
from kdlight.images.errors import CodecError, ImageError, TruncatedError, UnsupportedError
from kdlight.images.limits import check_pixels

_COMPRESSIONS = {
    2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW", 6: "old-style JPEG", 7: "JPEG", 8: "Deflate", 9: "JBIG", 10: "JBIG",
    22610: "JPEG XR", 32766: "NeXT", 32773: "PackBits", 32809: "ThunderScan", 32946: "Deflate", 33003: "JPEG 2000",
    33005: "JPEG 2000", 34661: "JBIG", 34676: "SGILog", 34677: "SGILog", 34712: "JPEG 2000", 34887: "LERC",
    34892: "lossy JPEG", 34925: "LZMA", 34933: "PNG", 34934: "JPEG XR", 50000: "Zstandard", 50001: "WebP",
    50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
TRUNCATED = "The TIFF file is truncated: a part of the picture is missing."
_JPEG2000 = (34712, 33005)
"""Those whose components are gray or RGB as they are."""
_KINDS = {1: "unsigned", 2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
_COLORS = {0: "gray", 1: "gray", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "Lab", 10: "Lab"}
_COLORS |= {32803: "raw color-filter", 32844: "LogL", 32845: "LogLuv"}


@dataclass(frozen=True, slots=True)
class Page:
    """The tags of one page that decide how it is read."""

    tags: dict[int, Any]

    def number(self, tag: int, default: int) -> int:
        value = self.tags.get(tag, default)
        first = value[0] if isinstance(value, tuple) and value else value
        return default if isinstance(first, tuple) else int(first)

    @property
    def bits(self) -> int:
        value = self.tags.get(258, 1)
        return int(max(value)) if isinstance(value, tuple) else int(value)

    @property
    def kind(self) -> int:
        """1 unsigned, 2 signed, 3 float; 4, undefined, counts as unsigned."""
        value = self.number(339, 1)
        return 1 if value == 4 else value

    @property
    def photometric(self) -> int:
        return self.number(262, 1)

    @property
    def compression(self) -> int:
        return self.number(259, 1)

    @property
    def is_deep(self) -> bool:
        """Whether Pillow would cut it, wrap it or not open it; packed 10 to 14 bits it reads well.

        Alpha that the colors are multiplied with already (1) it divides by, and in gray it does not open it.
        """
        plain = self.bits in (8, 16, 32, 64) and self.photometric in (0, 1, 2)
        deep = self.bits > 8 or self.kind != 1 or self.compression in _JPEG2000
        return plain and (deep or self.number(338, 0) == 1)

    @property
    def words(self) -> str:
        """What it is, such as: a TIFF of 16-bit floating-point RGB samples with JPEG XR compression."""
        color = _COLORS.get(self.photometric, "")
        kind = " ".join(filter(None, (f"{self.bits}-bit", _KINDS.get(self.kind, ""), color)))
        if self.compression == 1:
            return f"a TIFF of {kind} samples"
        name = _COMPRESSIONS.get(self.compression, f"an unknown ({self.compression})")
        return f"a TIFF of {kind} samples with {name} compression"


def pages(file: BinaryIO) -> list[Page]:
    """The pages of a TIFF or BigTIFF, as far as they can be read. Raises TruncatedError where it ends before the first.

    Only the tags are read, so a file on disk is not read whole.
    """
    head = file.read(16)
    found, seen, end = [], set(), file.seek(0, 2)
    try:
        directory = ImageFileDirectory_v2(head if head[2:4] in (b"+\0", b"\0+") else head[:8])
        if directory.next >= end:
            raise TruncatedError(TRUNCATED)
        while (at := directory.next) and at not in seen:
            seen.add(at)
            file.seek(at)
            directory.load(file)
            found.append(Page(dict(directory)))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error) as error:
        if isinstance(error, ImageError):
            raise
    return [page for page in found if 256 in page.tags and 257 in page.tags]


def samples_of(data: bytes, page: Page, index: int) -> Samples:
    """The samples of a deep page. Raises ImageError with what the page is where it cannot be read."""
    check_pixels(page.number(257, 0), page.number(256, 0))
    if any(at + length > len(data) for at, length in _extents(page)):
        raise TruncatedError(TRUNCATED)
    try:
        values = _jpeg2000(data, page) if page.compression in _JPEG2000 else np.asarray(tiff_decode(data, index=index))
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  libtiff's errors and OpenJPEG's
        raise _reason(str(error), page) from None
    samples = page.number(277, 1)
    if samples > 1 and values.ndim == 3 and values.shape[0] == samples != values.shape[2]:
        values = values.transpose(1, 2, 0)
    if values.shape[:2] != (page.number(257, 0), page.number(256, 0)) or values.ndim > 3:
        raise CodecError("The TIFF decoder gave a picture of another size; the file is damaged.")
    if values.dtype.kind not in "uif" or (values.ndim == 3 and values.shape[2] > 4):
        raise unsupported(page)
    facts = {"white_is_zero": page.photometric == 0, "nodata": _nodata(page)}
    return split_alpha(_without_extras(values, page), page.bits, **facts)


def _without_extras(values: np.ndarray, page: Page) -> np.ndarray:
    """Without the extra samples, but for an alpha channel that the colors are not multiplied with (ExtraSamples 2).

    Colors that are (1) lie on black as they are; 0 is data that the file does not explain.
    """
    if values.ndim == 2:
        return values
    channels = 3 if page.photometric == 2 else 1
    is_alpha = page.number(338, 0) == 2 and values.shape[2] > channels
    return values[..., : channels + is_alpha]


def _nodata(page: Page) -> float | None:
    text = page.tags.get(42113)
    try:
        return float(str(text).strip("\0 ")) if text is not None else None
    except ValueError:
        return None


def _jpeg2000(data: bytes, page: Page) -> np.ndarray:
    """Strips or tiles, each a codestream of its own, put together; all samples of a pixel are in the same one."""
    rows, columns, samples = page.number(257, 0), page.number(256, 0), page.number(277, 1)
    if samples > 1 and page.number(284, 1) != 1:
        raise unsupported(page)
    width, height = page.number(322, columns), page.number(323, page.number(278, rows))
    across = -(-columns // width)
    whole: np.ndarray | None = None
    for n, (at, length) in enumerate(_extents(page)):
        part = np.asarray(jpeg2k_decode(data[at : at + length]))
        if whole is None:
            whole = np.zeros((rows, columns, *part.shape[2:]), part.dtype)
        y, x = n // across * height, n % across * width
        space = whole[y : y + height, x : x + width]
        space[:] = part[: space.shape[0], : space.shape[1]]
    if whole is None:
        raise CodecError("The TIFF file holds no strips or tiles; it is damaged.")
    return whole


def _extents(page: Page) -> list[tuple[int, int]]:
    """Where each strip or tile begins and how long it is."""
    offsets, counts = (_numbers(page.tags.get(a, page.tags.get(b))) for a, b in ((324, 273), (325, 279)))
    return list(zip(offsets, counts, strict=False))


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else () if value is None else (int(value),)


def _reason(words: str, page: Page) -> ImageError:
    if "Read error" in words or "not enough data" in words.lower():
        return TruncatedError(TRUNCATED)
    if "not implemented" in words or "not configured" in words or "not supported" in words:
        return unsupported(page)
    return CodecError(f"The file is {page.words}, and cannot be decoded; it is damaged or in a form unknown here.")


def unsupported(page: Page) -> UnsupportedError:
    return UnsupportedError(
        f"The file is {page.words}, which is not read here. Save it as a PNG or a TIFF of 8 or 16 bits."
    )
