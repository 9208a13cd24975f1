"""One frame of a DICOM file to an Image. Runs in the decoding child only."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.hooks import hooks, raw_element_value
from pydicom.tag import Tag
from pydicom.uid import UID

from kdlight.contracts.image import Image
from kdlight.contracts.modality import Window, propose
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
from kdlight.images.frames import frame_bytes, native_frame, used_bits
from kdlight.images.header import PIXELS, PixelHeader, integer, pixel_header, syntax_words, text
from kdlight.images.limits import LIMITS, check_parts
from kdlight.images.palette import palette_rgb
from kdlight.images.structure import Structure, structure

NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
_ITEM = b"\xfe\xff\x00\xe0"
"""How compressed pixel data begins."""
_UNDEFINED = 0xFFFFFFFF
"""A length that stands for `until the delimiter`: compressed pixel data."""
_READ_HERE = (
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
_WHOLE = ("O", "SQ", "UN")
"""How value representations begin that are no list of values: bytes, and sequences, whose elements are counted."""
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
"""Secondary Capture Image Storage and its multi-frame kinds."""
_PERSONAL = ("AE", "AS", "DA", "DT", "LO", "LT", "PN", "SH", "SQ", "ST", "TM", "UC", "UI", "UN", "UR", "UT")
"""Value representations that can name a person, a place, a time or a file."""


def _convert(raw: RawDataElement, data: dict[str, str], **options: Any) -> None:
    """As pydicom does, one Python object per value; raises HeaderError where that would be millions of them."""
    if not data["VR"].startswith(_WHOLE) and len(raw.value or b"") > LIMITS.values:
        raise HeaderError(
            f"An element of the header holds more than {LIMITS.values // 1024} kB of values, which no image needs."
        )
    raw_element_value(raw, data, **options)


hooks.register_callback("raw_element_value", _convert)


def decode_dicom(data: bytes, frame: int) -> Image:
    """Read, check, decode and describe one frame. Raises ImageError with the reason for a refusal."""
    file = structure(data)
    ds = _dataset(file)
    if not any(k in ds for k in PIXELS):
        raise _without_pixels(ds, file)
    try:
        header = pixel_header(ds, frame)
        decoded = _stored(ds, header, frame, file)
    except (HeaderError, CodecError):
        if not file.whole:
            raise _cut() from None
        raise
    return _image(ds, header, frame, file, decoded)


def count_frames(data: bytes) -> int:
    """As the beginning of a file says, and at least 1. Raises as `decode_dicom`, and whatever pydicom raises."""
    file = structure(data)
    tag = tag_for_keyword("NumberOfFrames") or 0
    ds = read_dataset(BytesIO(file.body), file.implicit, file.little, stop_when=lambda found, *_: found > tag)
    frames = max(1, integer(ds, "NumberOfFrames", 1))
    check_parts(frames)
    return frames


def _image(ds: Dataset, header: PixelHeader, frame: int, file: Structure, decoded: codecs.Decoded) -> Image:
    table: tuple[np.ndarray, int] | None = None
    windows: tuple[Window, ...] = ()
    if header.gray:
        pixels = luts.modality_values(decoded.values, ds, header, frame, file.little)
        empty = luts.unmeasured(decoded.values, ds, header)
        windows = luts.file_windows(ds, header, frame) + luts.fitting_windows(pixels, header, empty)
        table = luts.voi_lut(ds, header, frame, file.little)
    else:
        pixels = _rgb(decoded, ds, header, file.little)
    spacing, kind = geometry.spacing(ds, frame)
    return Image(
        pixels=pixels,
        sha256="",
        format="dicom",
        bits=header.stored,
        windows=windows,
        modality=propose(text(ds, "Modality")),
        units="HU" if header.gray and luts.hounsfield(ds, frame) else "",
        inverted=header.photometric == "MONOCHROME1",
        voi_lut=table[0] if table else None,
        voi_first=table[1] if table else 0,
        frame=frame,
        frames=header.frames,
        spacing=spacing,
        laterality=geometry.laterality(ds, frame),
        orientation=geometry.orientation(ds, frame),
        view=geometry.view(ds),
        body_part=geometry.body_part(ds, frame),
        transfer_syntax=syntax_words(file.syntax) if file.syntax else None,
        removed=_removed(ds),
        photometric=header.photometric,
        spacing_kind=kind,
        burned_in={"YES": True, "NO": False}.get(text(ds, "BurnedInAnnotation")),
        secondary=_secondary(ds),
    )


def _dataset(file: Structure) -> Dataset:
    """The values; where what follows the pixel data cannot be read, those up to there."""
    for body in (file.body, file.body[: file.pixels_end or 0]):
        try:
            return read_dataset(BytesIO(body), file.implicit, file.little)
        except (MemoryError, RecursionError):
            raise
        except Exception:  # noqa: BLE001  pydicom raises many kinds, some with header values in their text
            continue
    if not file.whole:
        raise _cut()
    raise HeaderError("The DICOM header is damaged and cannot be read. Copy the file again.")


def _cut() -> TruncatedError:
    return TruncatedError("The file ends in the middle of its content: it is truncated. Copy the file again.")


def _without_pixels(ds: Dataset, file: Structure) -> ImageError:
    if "DirectoryRecordSequence" in ds:
        return NoPixelsError("This is a DICOMDIR, the directory of a disc; give the image files that lie beside it.")
    if not file.whole:
        return _cut()
    if "EncryptedAttributesSequence" in ds:
        return EncryptedError("The content of this DICOM file is encrypted. Decrypt it and give the image inside.")
    if "PixelDataProviderURL" in ds:
        return UnsupportedError("The pixels of this DICOM file stay on a server (JPIP). Save the image itself.")
    name = UID(str(ds.get("SOPClassUID", ""))).name
    known = str(ds.get("SOPClassUID", "")) != name
    what = f' of the kind "{name.removesuffix(" Storage")}"' if known else ""
    return NoPixelsError(f"This is a DICOM file{what} without pixel data, so there is no image to read.")


def _stored(ds: Dataset, header: PixelHeader, frame: int, file: Structure) -> codecs.Decoded:
    """Stored values of the frame, their photometric interpretation and their bits."""
    try:
        raw = ds.get_item(header.keyword)
    except NotImplementedError:  # pydicom's word for a value representation that is none
        raise HeaderError("The pixel data has a damaged header and cannot be read. Copy the file again.") from None
    value, compressed = raw.value, file.syntax not in (None, *NATIVE)
    if not isinstance(value, bytes) or not value:
        raise TruncatedError("The pixel data is empty. Copy the file again.")
    undefined = getattr(raw, "length", None) == _UNDEFINED or getattr(raw, "is_undefined_length", False)
    if not compressed:
        if undefined:
            raise HeaderError("The pixel data is compressed, but the header names no compressed transfer syntax.")
        pixels = native_frame(value, header, frame, file.little, raw.VR == "OW")
        if len(value) < getattr(raw, "length", 0) < _UNDEFINED:
            raise _cut()
        return codecs.Decoded(used_bits(pixels, header), codecs.full(header.photometric), header.stored)
    if file.syntax not in codecs.SYNTAXES:
        raise UnsupportedError(f"The transfer syntax {syntax_words(file.syntax)} is not supported.")
    if not undefined and not value.startswith(_ITEM):
        raise HeaderError(
            f"The header names {syntax_words(file.syntax)}, but the pixel data is not compressed. Export it again."
        )
    offsets = ds.get("ExtendedOffsetTable")
    data = frame_bytes(value, frame, header.frames, offsets if isinstance(offsets, bytes) else b"")
    return codecs.decode_frame(data, header, file.syntax)


def _rgb(decoded: codecs.Decoded, ds: Dataset, header: PixelHeader, little: bool) -> np.ndarray:
    """Color samples to uint8 (rows, columns, 3)."""
    if decoded.photometric == "PALETTE COLOR":
        return palette_rgb(decoded.values, ds, header, little)
    samples = decoded.values
    if decoded.photometric.startswith("YBR"):
        samples = luts.ybr_rgb(samples, decoded.bits, partial=decoded.photometric == "YBR_PARTIAL")
    return luts.to_bytes(samples, decoded.bits)


def _secondary(ds: Dataset) -> bool:
    """A Secondary Capture by its SOP class, or converted from a screen, a film or a document (PS3.3 C.8.6.1)."""
    kind = f"{ds.get('SOPClassUID', '')}."
    return kind.startswith(f"{_SECONDARY}.") or text(ds, "ConversionType") not in ("", "SYN")


def _removed(ds: Dataset) -> tuple[str, ...]:
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
        if vr in _PERSONAL and keyword not in _READ_HERE:
            names.add(keyword or "UnknownElements")
    return tuple(sorted(names))
