"""One frame of a DICOM file to an Image. Runs in the decoding child only."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import UID

from kdlight.images import codecs, geometry, luts
from kdlight.images.errors import (
    CodecError,
    EncryptedError,
    HeaderError,
    ImageError,
    NoPixelsError,
    TruncatedError,
    UnsupportedError,
)
from kdlight.images.header import PIXELS, PixelHeader, number, pixel_header, syntax_words, text
from kdlight.images.image import Image
from kdlight.images.native import native_frame, used_bits
from kdlight.images.palette import palette_rgb
from kdlight.images.structure import Structure, structure
from kdlight.modality import Window, propose

NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
_UNDEFINED = 0xFFFFFFFF
"""A length that stands for `until the delimiter`: compressed pixel data."""
_KEPT = (
    "SOPClassUID",
    "RescaleType",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "SequenceOfUltrasoundRegions",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
"""Elements that are read here; the names inside the sequences stay behind."""
_TELLING = ("AE", "AS", "DA", "DT", "LO", "LT", "PN", "SH", "SQ", "ST", "TM", "UC", "UI", "UN", "UR", "UT")
"""Value representations that can name a person, a place, a time or a file."""


def decode_dicom(data: bytes, frame: int) -> Image:
    """Read, check, decode and describe one frame. Raises ImageError with the reason for a refusal."""
    found = structure(data)
    ds = _dataset(found)
    if not any(k in ds for k in PIXELS):
        raise _without_pixels(ds, found)
    try:
        header = pixel_header(ds, frame)
        stored, photometric = _stored(ds, header, frame, found)
    except (HeaderError, CodecError):
        if not found.whole:
            raise _cut() from None
        raise
    if header.gray:
        return _gray(ds, header, frame, found, stored)
    return _color(ds, header, frame, found, stored, photometric)


def _dataset(found: Structure) -> Dataset:
    try:
        return read_dataset(BytesIO(found.body), found.implicit, found.little)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # noqa: BLE001  pydicom raises many kinds, some with header values in their text
        if not found.whole:
            raise _cut() from None
        raise HeaderError("The DICOM header is damaged and cannot be read. Copy the file again.") from None


def _cut() -> TruncatedError:
    return TruncatedError("The file ends in the middle of its content: it is truncated. Copy the file again.")


def _without_pixels(ds: Dataset, found: Structure) -> ImageError:
    if "DirectoryRecordSequence" in ds:
        return NoPixelsError("This is a DICOMDIR, the directory of a disc; give the image files that lie beside it.")
    if not found.whole:
        return _cut()
    if "EncryptedAttributesSequence" in ds:
        return EncryptedError("The content of this DICOM file is encrypted. Decrypt it and give the image inside.")
    if "PixelDataProviderURL" in ds:
        return UnsupportedError("The pixels of this DICOM file stay on a server (JPIP). Save the image itself.")
    name = UID(str(ds.get("SOPClassUID", ""))).name
    known = str(ds.get("SOPClassUID", "")) != name
    what = f' of the kind "{name.removesuffix(" Storage")}"' if known else ""
    return NoPixelsError(f"This is a DICOM file{what} without pixel data, so there is no image to read.")


def _stored(ds: Dataset, header: PixelHeader, frame: int, found: Structure) -> tuple[np.ndarray, str]:
    """Stored values of the frame and their photometric interpretation."""
    raw = ds.get_item(header.keyword)
    value, compressed = raw.value, found.syntax not in (None, *NATIVE)
    if not isinstance(value, bytes):
        raise TruncatedError("The pixel data is empty. Copy the file again.")
    if not compressed:
        if getattr(raw, "length", None) == _UNDEFINED or getattr(raw, "is_undefined_length", False):
            raise HeaderError("The pixel data is compressed, but the header names no compressed transfer syntax.")
        pixels = native_frame(value, header, frame, found.little, raw.VR == "OW")
        if len(value) < getattr(raw, "length", 0) < _UNDEFINED:
            raise _cut()
        same = "YBR_FULL" if header.photometric == "YBR_FULL_422" else header.photometric
        return used_bits(pixels, header), same
    if found.syntax is None or not codecs.supported(found.syntax):
        raise UnsupportedError(f"The transfer syntax {syntax_words(found.syntax)} is not supported.")
    pixels, photometric = codecs.decode_frame(_encoded(ds, value, header, frame), header, found.syntax)
    if pixels.dtype.itemsize * 8 == header.allocated and found.syntax == codecs.RLE:
        pixels = used_bits(pixels, header)
    return pixels, photometric


def _encoded(ds: Dataset, value: bytes, header: PixelHeader, frame: int) -> bytes:
    """The bytes of one compressed frame, its fragments joined."""
    offsets, lengths = ds.get("ExtendedOffsetTable"), ds.get("ExtendedOffsetTableLengths")
    extended = (offsets, lengths) if isinstance(offsets, bytes) and isinstance(lengths, bytes) else None
    try:
        return get_frame(value, frame, number_of_frames=header.frames, extended_offsets=extended)
    except Exception:  # noqa: BLE001  pydicom's own kinds
        raise TruncatedError(f"The compressed data of frame {frame + 1} is missing or damaged.") from None


def _gray(ds: Dataset, header: PixelHeader, frame: int, found: Structure, stored: np.ndarray) -> Image:
    pixels = luts.modality_values(stored, ds, header, frame, found.little)
    table = luts.voi_lut(ds, pixels, found.little)
    padding = _padding(ds, pixels, stored)
    windows = luts.file_windows(ds, header, frame) + luts.fitting_windows(pixels, header, padding)
    return _image(
        ds,
        header,
        frame,
        found,
        pixels,
        windows,
        units="HU" if luts.hounsfield(ds, header, frame) else "",
        voi_lut=table[0] if table else None,
        voi_first=table[1] if table else 0,
    )


def _padding(ds: Dataset, pixels: np.ndarray, stored: np.ndarray) -> float | None:
    """What the padding value became in modality units; it is left out when a window is fitted."""
    try:
        value = number(ds, "PixelPaddingValue")
    except HeaderError:
        return None
    where = stored == value if value is not None else None
    return float(pixels[where][0]) if where is not None and where.any() else None


def _color(
    ds: Dataset, header: PixelHeader, frame: int, found: Structure, stored: np.ndarray, photometric: str
) -> Image:
    if photometric == "PALETTE COLOR":
        pixels = palette_rgb(stored, ds, header.signed, found.little)
    else:
        bits = min(header.stored, 8 * stored.dtype.itemsize)
        if photometric.startswith("YBR"):
            stored = luts.ybr_rgb(stored, bits)
        pixels = luts.to_bytes(stored, bits)
    return _image(ds, header, frame, found, pixels, ())


def _image(
    ds: Dataset,
    header: PixelHeader,
    frame: int,
    found: Structure,
    pixels: np.ndarray,
    windows: tuple[Window, ...],
    **more: object,
) -> Image:
    spacing, kind = geometry.spacing(ds, frame)
    return Image(
        pixels=pixels,
        sha256="",
        format="dicom",
        bits=header.stored,
        windows=windows,
        modality=propose(text(ds, "Modality")),
        inverted=header.photometric == "MONOCHROME1",
        frame=frame,
        frames=header.frames,
        spacing=spacing,
        laterality=geometry.laterality(ds, frame),
        orientation=geometry.orientation(ds, frame),
        view=geometry.view(ds),
        transfer_syntax=syntax_words(found.syntax) if found.syntax else None,
        removed=removed(ds),
        photometric=header.photometric,
        spacing_kind=kind,
        burned_in={"YES": True, "NO": False}.get(text(ds, "BurnedInAnnotation")),
        **more,  # type: ignore[arg-type]
    )


def removed(ds: Dataset) -> tuple[str, ...]:
    """Keywords of what was dropped and could tell who, where or when; the values are not looked at."""
    names = set()
    for tag in ds.keys():  # noqa: SIM118  iterating a Dataset would decode every value
        raw = ds.get_item(tag)
        if not raw.value:
            continue
        if Tag(tag).is_private:
            names.add("PrivateElements")
            continue
        keyword = keyword_for_tag(tag)
        vr = raw.VR or (dictionary_VR(tag) if keyword else "UN")
        if vr in _TELLING and keyword not in _KEPT:
            names.add(keyword or "UnknownElements")
    return tuple(sorted(names))
