"""What one file may cost. Decoding stops with a refusal at each of these."""

from __future__ import annotations

from dataclasses import dataclass

from kdlight.images.errors import TooBigError


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one decode."""

    bytes: int = 64 * 1024 * 1024
    """Size of the file."""
    pixels: int = 64_000_000
    """Rows times columns of one frame."""
    parts: int = 250_000
    """Elements, items and fragments of DICOM, chunks of PNG, segments of JPEG. A multi-frame DICOM file of 64 MB has
    some 100,000."""
    pages: int = 10_000
    """Pages of a TIFF."""
    values: int = 128 * 1024
    """Bytes of one header element's values, where each becomes a number or a word: 65536 entries of a lookup table."""
    depth: int = 64
    """Sequences inside sequences."""
    inflated: int = 512 * 1024 * 1024
    """Size of a deflated data set once inflated."""
    memory: int = 2 * 1024**3
    """Address space of the decoding process, above what it starts with."""
    seconds: float = 20.0
    """Wall time of one decode."""


LIMITS = Limits()


def check_pixels(rows: int, columns: int, limits: Limits = LIMITS) -> None:
    """Raises TooBigError for a frame above the pixel limit."""
    if rows * columns > limits.pixels:
        raise TooBigError(
            f"One frame is {columns} x {rows} pixels; at most {limits.pixels // 1_000_000} megapixels are read. "
            "Use a smaller rendition of the image."
        )


def check_parts(count: int, limits: Limits = LIMITS) -> None:
    """Raises TooBigError above the limit of parts, so that no library makes objects of millions of tiny ones."""
    if count > limits.parts:
        raise TooBigError(
            f"The file holds more than {limits.parts:,} elements, chunks or segments; at most so many are read. Save "
            "the image alone, or fewer frames of it."
        )
