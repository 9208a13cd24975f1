"""One frame of a DICOM file to an Image. Runs in the decoding child only."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import UID

from kdlight.images import codecs, geometry, luts
from kdlight.images.encapsulated import frame_bytes, is_encapsulated
from kdlight.images.errors import (
    CodecError,
    EncryptedError,
    HeaderError,
    ImageError,
    NoPixelsError,
    TruncatedError,
    UnsupportedError,
)
from kdlight.images.header import PIXELS, PixelHeader, pixel_header, syntax_words, text
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
    "AnatomicRegionSequence",
    "ViewCodeSequence",
)
"""Elements that are read here; the names inside the sequences stay behind."""
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
"""Secondary Capture Image Storage and its multi-frame kinds."""
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
        decoded = _stored(ds, header, frame, found)
    except (HeaderError, CodecError):
        if not found.whole:
            raise _cut() from None
        raise
    if header.gray:
        return _gray(ds, header, frame, found, decoded.values)
    return _color(ds, header, frame, found, decoded)


def _dataset(found: Structure) -> Dataset:
    """The values; where what follows the pixel data cannot be read, those up to there."""
    for body in (found.body, found.body[: found.pixels_end or 0]):
        try:
            return read_dataset(BytesIO(body), found.implicit, found.little)
        except (MemoryError, RecursionError):
            raise
        except Exception:  # noqa: BLE001  pydicom raises many kinds, some with header values in their text
            continue
    if not found.whole:
        raise _cut()
    raise HeaderError("The DICOM header is damaged and cannot be read. Copy the file again.")


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


def _stored(ds: Dataset, header: PixelHeader, frame: int, found: Structure) -> codecs.Decoded:
    """Stored values of the frame, their photometric interpretation and their bits."""
    try:
        raw = ds.get_item(header.keyword)
    except NotImplementedError:  # pydicom's word for a value representation that is none
        raise HeaderError("The pixel data has a damaged header and cannot be read. Copy the file again.") from None
    value, compressed = raw.value, found.syntax not in (None, *NATIVE)
    if not isinstance(value, bytes) or not value:
        raise TruncatedError("The pixel data is empty. Copy the file again.")
    undefined = getattr(raw, "length", None) == _UNDEFINED or getattr(raw, "is_undefined_length", False)
    if not compressed:
        if undefined:
            raise HeaderError("The pixel data is compressed, but the header names no compressed transfer syntax.")
        pixels = native_frame(value, header, frame, found.little, raw.VR == "OW")
        if len(value) < getattr(raw, "length", 0) < _UNDEFINED:
            raise _cut()
        return codecs.Decoded(used_bits(pixels, header), codecs.full(header.photometric), header.stored)
    if found.syntax is None or not codecs.supported(found.syntax):
        raise UnsupportedError(f"The transfer syntax {syntax_words(found.syntax)} is not supported.")
    if not undefined and not is_encapsulated(value):
        raise HeaderError(
            f"The header names {syntax_words(found.syntax)}, but the pixel data is not compressed. Export it again."
        )
    offsets = ds.get("ExtendedOffsetTable")
    data = frame_bytes(value, frame, header.frames, offsets if isinstance(offsets, bytes) else None)
    return codecs.decode_frame(data, header, found.syntax)


def _gray(ds: Dataset, header: PixelHeader, frame: int, found: Structure, stored: np.ndarray) -> Image:
    pixels = luts.modality_values(stored, ds, header, frame, found.little)
    table = luts.voi_lut(ds, header, frame, found.little)
    empty = luts.unmeasured(stored, ds, header)
    windows = luts.file_windows(ds, header, frame) + luts.fitting_windows(pixels, header, empty)
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


def _color(ds: Dataset, header: PixelHeader, frame: int, found: Structure, decoded: codecs.Decoded) -> Image:
    stored = decoded.values
    if decoded.photometric == "PALETTE COLOR":
        pixels = palette_rgb(stored, ds, header, found.little)
    else:
        if decoded.photometric.startswith("YBR"):
            stored = luts.ybr_rgb(stored, decoded.bits, partial=decoded.photometric == "YBR_PARTIAL")
        pixels = luts.to_bytes(stored, decoded.bits)
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
        body_part=geometry.body_part(ds, frame),
        transfer_syntax=syntax_words(found.syntax) if found.syntax else None,
        removed=removed(ds),
        photometric=header.photometric,
        spacing_kind=kind,
        burned_in={"YES": True, "NO": False}.get(text(ds, "BurnedInAnnotation")),
        secondary=_secondary(ds),
        **more,  # type: ignore[arg-type]
    )


def _secondary(ds: Dataset) -> bool:
    """A Secondary Capture by its SOP class, or converted from a screen, a film or a document (PS3.3 C.8.6.1)."""
    kind = f"{ds.get('SOPClassUID', '')}."
    return kind.startswith(f"{_SECONDARY}.") or text(ds, "ConversionType") not in ("", "SYN")


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
