"""What the header says of the pixels: checked values of the Image Pixel module (DICOM PS3.3 C.7.6.3), never trusted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from kdlight.images.errors import FrameError, HeaderError, UnsupportedError
from kdlight.images.limits import check_pixels

GRAY = ("MONOCHROME1", "MONOCHROME2")
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_SAMPLES = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_PARTIAL_422": 3,
    "YBR_ICT": 3,
    "YBR_RCT": 3,
}


@dataclass(frozen=True, slots=True)
class PixelHeader:
    """The layout of the stored pixels."""

    keyword: str
    """Which of PIXELS holds them."""
    rows: int
    columns: int
    samples: int
    photometric: str
    allocated: int
    """Bits per sample in the file, 1, 8, 16, 32 or 64."""
    stored: int
    """Bits per sample that count, the highest of them at `high`."""
    high: int
    signed: bool
    """Never of color samples: their scale begins at black (PS3.3 C.7.6.3.1.2), whatever the header says."""
    planar: bool
    frames: int

    @property
    def gray(self) -> bool:
        return self.photometric in GRAY

    @property
    def integer(self) -> bool:
        return self.keyword == "PixelData"

    @property
    def lowest(self) -> int:
        """The least value that an integer sample can have."""
        return -(1 << self.stored - 1) if self.signed else 0

    @property
    def highest(self) -> int:
        return self.lowest + (1 << self.stored) - 1


def pixel_header(ds: Dataset, frame: int) -> PixelHeader:
    """Read and check the layout. Raises HeaderError, UnsupportedError, FrameError or TooBigError."""
    keyword = next(k for k in PIXELS if k in ds)
    rows, columns = integer(ds, "Rows"), integer(ds, "Columns")
    if rows < 1 or columns < 1:
        raise HeaderError(f"The header gives {columns} x {rows} pixels; at least one was expected.")
    check_pixels(rows, columns)
    frames = max(1, integer(ds, "NumberOfFrames", 1))
    if not 0 <= frame < frames:
        raise FrameError(f"Frame {frame + 1} was asked for; the file has {frames}.")
    photometric = _photometric(ds)
    samples = integer(ds, "SamplesPerPixel", _SAMPLES[photometric])
    if samples != _SAMPLES[photometric]:
        raise HeaderError(f"The header gives {samples} samples per pixel, which {photometric} does not have.")
    allocated, stored, high = _bits(ds, keyword)
    signed = keyword == "PixelData" and samples == 1 and integer(ds, "PixelRepresentation", 0) == 1
    planar = samples > 1 and integer(ds, "PlanarConfiguration", 0) == 1
    return PixelHeader(keyword, rows, columns, samples, photometric, allocated, stored, high, signed, planar, frames)


def _photometric(ds: Dataset) -> str:
    value = text(ds, "PhotometricInterpretation")
    if not value:
        raise HeaderError("The header has no Photometric Interpretation, so the pixels cannot be understood.")
    if value not in _SAMPLES:
        raise UnsupportedError(
            f"The photometric interpretation is not supported; one of {', '.join(_SAMPLES)} was expected."
        )
    return value


def _bits(ds: Dataset, keyword: str) -> tuple[int, int, int]:
    if keyword != "PixelData":
        size = 32 if keyword == "FloatPixelData" else 64
        return size, size, size - 1
    allocated = integer(ds, "BitsAllocated")
    if allocated not in (1, 8, 16, 32, 64):
        raise UnsupportedError(f"The pixels take {allocated} bits each; 1, 8, 16, 32 or 64 was expected.")
    stored = integer(ds, "BitsStored", allocated)
    high = integer(ds, "HighBit", stored - 1)
    if not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise HeaderError(f"The header stores {stored} bits up to bit {high} in {allocated} bits, which cannot be.")
    return allocated, stored, high


def integer(ds: Dataset, keyword: str, default: int | None = None) -> int:
    """A whole number of the header. Raises HeaderError where it is missing without a default, or no number."""
    value = number(ds, keyword)
    if value is None and default is not None:
        return default
    if value is None:
        raise HeaderError(f"The header does not say {_words(keyword)}, without which the pixels cannot be read.")
    if value != int(value):
        raise HeaderError(f"{_words(keyword)} in the header is not a whole number.")
    return int(value)


def number(ds: Dataset, keyword: str) -> float | None:
    """A finite number of the header, None where it is missing or empty. Raises HeaderError where it is no number."""
    values = numbers(ds, keyword)
    return values[0] if values else None


def numbers(ds: Dataset, keyword: str) -> list[float]:
    """All values of a numeric element. Raises HeaderError where one is no finite number."""
    try:
        value = ds.get(keyword)
        values = [] if value is None or value == "" else [float(v) for v in _many(value)]
    except (ValueError, TypeError, OverflowError, AttributeError, NotImplementedError):
        raise HeaderError(f"{_words(keyword)} in the header is not a number.") from None
    if not all(math.isfinite(v) for v in values):
        raise HeaderError(f"{_words(keyword)} in the header is not a finite number.")
    return values


def text(ds: Dataset, keyword: str) -> str:
    """The first value of a code string, upper case; empty where it is missing or unreadable."""
    try:
        value = ds.get(keyword)
    except (ValueError, TypeError, AttributeError, NotImplementedError):
        return ""
    first = next(iter(_many(value)), "") if value is not None else ""
    return str(first).strip().upper()


def items(ds: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where it is missing or empty."""
    value = ds.get(keyword)
    return list(value) if isinstance(value, Sequence) else []


def groups(ds: Dataset, frame: int) -> Iterator[Dataset]:
    """Where facts of one frame may stand, the most particular first: its own group, the shared group, the top."""
    per_frame = items(ds, "PerFrameFunctionalGroupsSequence")
    if frame < len(per_frame):
        yield per_frame[frame]
    yield from items(ds, "SharedFunctionalGroupsSequence")[:1]


def macro(ds: Dataset, frame: int, sequence: str) -> Dataset:
    """The item of a functional group macro that holds for the frame; the data set itself where there is none.

    An empty item of the frame's own group does not hide the shared one.
    """
    for group in groups(ds, frame):
        if (members := items(group, sequence)) and len(members[0]):
            return members[0]
    return ds


def syntax_words(syntax: str | None) -> str:
    """The name of a transfer syntax; private ones are called so."""
    if syntax is None:
        return "an unnamed transfer syntax"
    known = UID(syntax)
    if known.name != syntax:
        return str(known.name)
    return syntax if syntax.startswith("1.2.840.10008.") and len(syntax) <= 64 else "a private transfer syntax"


def _many(value: Any) -> list[Any]:
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str | bytes) else [value]


def _words(keyword: str) -> str:
    return "".join(" " + c if c.isupper() else c for c in keyword).strip()
