"""Synthetic DICOM files, made element by element, so that the truth of every pixel is known."""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

INSTALLED = Path(pydicom.__file__).parent / "data" / "test_files"


def make_dicom(pixels: np.ndarray, syntax: str = ExplicitVRLittleEndian, **elements: Any) -> bytes:
    """A DICOM file of `pixels`; `elements` by keyword replace or, with None, remove what follows from the array."""
    size = 8 * pixels.dtype.itemsize
    ds, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, CTImageStorage
    meta.MediaStorageSOPInstanceUID = "2.25.1"
    ds.file_meta, ds.SOPClassUID, ds.SOPInstanceUID = meta, CTImageStorage, "2.25.1"
    ds.Rows, ds.Columns, ds.SamplesPerPixel = pixels.shape[-2], pixels.shape[-1], 1
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = size, size, size - 1
    ds.PixelRepresentation, ds.PhotometricInterpretation = int(pixels.dtype.kind == "i"), "MONOCHROME2"
    little = syntax != "1.2.840.10008.1.2.2"
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder("<" if little else ">")).tobytes()
    for keyword, value in elements.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    if len(ds.get("PixelData", b"")) % 2:
        ds.PixelData += b"\0"
    if "PixelData" in ds:
        ds["PixelData"].VR = "OB" if size == 8 else "OW"
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True, implicit_vr=syntax == "1.2.840.10008.1.2", little_endian=little)
    return buffer.getvalue()


def make_compressed(pixels: np.ndarray, syntax: str, value: bytes, **elements: Any) -> bytes:
    """As `make_dicom`, with the encapsulated `value` in place of the pixels, whose shape and type it describes.

    `value`: items from the basic offset table on, as `pydicom.encaps.encapsulate` gives them.
    """
    plain = make_dicom(pixels, PixelData=b"", **elements)
    at = plain.rindex(b"\xe0\x7f\x10\0O")
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    old = plain.index(b"\x02\0\x10\0UI")
    head = plain[: old + 6] + struct.pack("<H", len(uid)) + uid + plain[old + 8 + len(ExplicitVRLittleEndian) + 1 : at]
    return head + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + value + b"\xfe\xff\xdd\xe0\0\0\0\0"


def make_frame(pixels: np.ndarray, syntax: str, stream: bytes, **elements: Any) -> bytes:
    """As `make_compressed`, of one frame in one fragment."""
    return make_compressed(pixels, syntax, encapsulate([stream + b"\0" * (len(stream) % 2)]), **elements)


@pytest.fixture
def make() -> Callable[..., bytes]:
    return make_dicom


@pytest.fixture
def ramp() -> np.ndarray:
    """(16, 16) uint8, every value from 0 to 255 once."""
    return np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.fixture
def installed() -> Path:
    """Where pydicom keeps the test files that it installs."""
    return INSTALLED
