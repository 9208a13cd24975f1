"""TIFF pages of more than 8 bits, with a sign, of floats or in JPEG 2000, which Pillow would cut, wrap or not open.

tifffile decodes them, except for LERC, whose mask of values that are none it loses.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
from typing import BinaryIO

import numpy as np
from imagecodecs import tiff_decode
from tifffile import TiffFile, TiffPage

from kdlight.images.errors import CodecError, ImageError, TooBigError, TruncatedError, UnsupportedError
from kdlight.images.limits import LIMITS, check_pixels
from kdlight.images.raster import Raster

logging.getLogger("tifffile").setLevel(logging.CRITICAL)
TRUNCATED = "The TIFF file is truncated: a part of the picture is missing."
COMPRESSIONS = {
    2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW", 6: "old-style JPEG", 7: "JPEG", 8: "Deflate", 9: "JBIG", 10: "JBIG",
    22610: "JPEG XR", 32766: "NeXT", 32773: "PackBits", 32809: "ThunderScan", 32946: "Deflate", 33003: "JPEG 2000",
    33005: "JPEG 2000", 34661: "JBIG", 34676: "SGILog", 34677: "SGILog", 34712: "JPEG 2000", 34887: "LERC",
    34892: "lossy JPEG", 34925: "LZMA", 34933: "PNG", 34934: "JPEG XR", 50000: "Zstandard", 50001: "WebP",
    50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_LERC, _ORIENTATION, _GDAL_NODATA = 34887, 274, 42113
_JPEG2000 = (34712, 33005)
"""Those whose components are gray or RGB as they are."""
_KINDS = {1: "unsigned", 2: "signed", 3: "floating-point", 4: "unsigned", 5: "complex", 6: "complex"}
_COLORS = {0: "gray", 1: "gray", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "Lab", 10: "Lab"}
_COLORS |= {32803: "raw color-filter", 32844: "LogL", 32845: "LogLuv"}
_MULTIPLIED, _ALPHA = 1, 2
"""Extra samples: alpha that the colors are multiplied with already, and alpha that they are not."""


def pages(file: BinaryIO, most: int = LIMITS.pages) -> list[TiffPage]:
    """The pages of a TIFF or BigTIFF, as far as they can be read. Raises TruncatedError where it ends before the first,
    TooBigError where there are more than `most`.

    Only the tags are read, so a file on disk is not read whole.
    """
    head, end = file.read(16), file.seek(0, 2)
    first = head[8:16] if b"+" in head[2:4] else head[4:8]
    if int.from_bytes(first, "little" if head[:1] == b"I" else "big") >= end:
        raise TruncatedError(TRUNCATED)
    file.seek(0)
    readable: list[TiffPage] = []
    with contextlib.suppress(Exception):  # tifffile raises many kinds; what could be read is what there is
        readable += (p for p in itertools.islice(TiffFile(file).pages, most + 1) if isinstance(p, TiffPage))
    if len(readable) > most:
        raise TooBigError(f"The file holds more than {most:,} pages; at most so many are read. Save some of them.")
    return readable


def is_deep(page: TiffPage) -> bool:
    """Whether Pillow would cut the page, wrap it or not open it; packed 10 to 14 bits it reads well.

    Alpha that the colors are multiplied with already Pillow divides by, and in gray it does not open it.
    """
    if not isinstance(page.bitspersample, int) or not isinstance(page.sampleformat, int):
        return False
    plain = page.bitspersample in (8, 16, 32, 64) and page.photometric in (0, 1, 2)
    deep = page.bitspersample > 8 or page.sampleformat not in (1, 4) or page.compression in _JPEG2000
    return plain and (deep or page.extrasamples[:1] == (_MULTIPLIED,))


def raster_of(data: bytes, page: TiffPage) -> Raster:
    """The samples of a deep page. Raises ImageError with what the page is where it cannot be read."""
    check_pixels(page.imagelength, page.imagewidth)
    extents = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if len(extents) < math.prod(page.chunked) or any(not length or at + length > len(data) for at, length in extents):
        raise TruncatedError(TRUNCATED)
    try:
        values = tiff_decode(data, index=page.index) if page.compression == _LERC else _decoded(page)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  tifffile's errors and those of the codecs
        raise _reason(str(error), page) from None
    if values.dtype.kind not in "uif" or (values.ndim == 3 and values.shape[2] > 4):
        raise unsupported(page)
    return Raster(
        _without_extras(values, page),
        page.bitspersample,
        page.tags.valueof(_ORIENTATION, 1),
        white_is_zero=page.photometric == 0,
        nodata=_nodata(page),
    )


def _decoded(page: TiffPage) -> np.ndarray:
    """(H, W), or (H, W, samples) where there are several."""
    whole = page.asarray(squeeze=False, maxworkers=1)  # (planes, depth, H, W, samples)
    values = np.asarray(whole[:, 0].transpose(1, 2, 0, 3).reshape(page.imagelength, page.imagewidth, -1))
    return values[..., 0] if values.shape[2] == 1 else values


def _without_extras(values: np.ndarray, page: TiffPage) -> np.ndarray:
    """Without the extra samples, but for an alpha channel that the colors are not multiplied with."""
    if values.ndim == 2:
        return values
    channels = 3 if page.photometric == 2 else 1
    is_alpha = page.extrasamples[:1] == (_ALPHA,) and values.shape[2] > channels
    return values[..., : channels + is_alpha]


def _nodata(page: TiffPage) -> float | None:
    text = page.tags.valueof(_GDAL_NODATA)
    try:
        return float(str(text).strip("\0 ")) if text is not None else None
    except ValueError:
        return None


def _reason(words: str, page: TiffPage) -> ImageError:
    """`words`: how the library says it, in which only the kind of the fault is looked for."""
    if "cannot be reshaped" in words or "failed to read" in words:
        return TruncatedError(TRUNCATED)
    if "not supported" in words or "not a known" in words or "requires" in words:
        return unsupported(page)
    return CodecError(f"The file is {_words(page)}, and cannot be decoded; it is damaged or in a form unknown here.")


def unsupported(page: TiffPage) -> UnsupportedError:
    return UnsupportedError(
        f"The file is {_words(page)}, which is not read here. Save it as a PNG or a TIFF of 8 or 16 bits."
    )


def _words(page: TiffPage) -> str:
    """What it is, such as: a TIFF of 16-bit floating-point RGB samples with JPEG XR compression."""
    color, kind = _COLORS.get(page.photometric, ""), _KINDS.get(page.sampleformat, "")
    samples = " ".join(filter(None, (f"a TIFF of {page.bitspersample}-bit", kind, color, "samples")))
    if page.compression == 1:
        return samples
    return f"{samples} with {COMPRESSIONS.get(page.compression, f'an unknown ({int(page.compression)})')} compression"
