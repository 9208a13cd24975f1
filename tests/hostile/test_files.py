"""Spoiled image files: each is read or refused in words, none ends the process, tells a name or leaks into the next."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pydicom
from pydicom.data import get_testdata_file

from kdlight.images import ImageError, read
from tests.hostile.conftest import Trials

NAME = "ZZYZX^QUILL"
DICOM = (
    "CT_small",
    "MR_small",
    "MR_small_RLE",
    "JPEG2000",
    "SC_rgb_jpeg_dcmtk",
    "liver_1frame",
    "693_J2KI",
    "JPGExtended",
    "examples_palette",
    "examples_ybr_color",
    "MR_small_jpeg_ls_lossless",
)
GENTLE = 24
"""Files that are not spoiled are read between these many trials, and must look as they did at first."""


def originals() -> list[bytes]:
    """What the mutations begin with: pydicom's own files under another patient's name, and pictures of every format."""
    files = []
    for name in DICOM:
        path = get_testdata_file(f"{name}.dcm", download=False)
        if path is not None:
            dataset, buffer = pydicom.dcmread(path), io.BytesIO()
            dataset.PatientName, dataset.PatientID = NAME, NAME
            dataset.save_as(buffer)
            files.append(buffer.getvalue())
    assert len(files) >= 6
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP"):
        for picture in (PIL.Image.fromarray(color), PIL.Image.fromarray(color[:, :, 0])):
            buffer = io.BytesIO()
            picture.save(buffer, kind)
            files.append(buffer.getvalue())
    deep = io.BytesIO()
    PIL.Image.fromarray(rng.integers(0, 1 << 16, (48, 64), dtype=np.uint16)).save(deep, "PNG")
    return [*files, deep.getvalue()]


def spoiled(rng: np.random.Generator, files: list[bytes]) -> bytes:
    """One of them with bytes changed, cut out, doubled, swapped or taken from another; mostly near its head."""
    data = bytearray(files[rng.integers(len(files))])
    for _ in range(rng.integers(1, 6)):
        data = data or bytearray(1)
        end = len(data) if rng.random() < 0.3 else min(len(data), 2000)
        at, length = int(rng.integers(end)), int(rng.integers(1, 40))
        change = rng.integers(6)
        if change == 0:
            data[at] = rng.integers(256)
        elif change == 1:
            data[at : at + 4] = int(rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 65535])).to_bytes(4, "little")
        elif change == 2:
            del data[at : at + length]
        elif change == 3:
            data[at:at] = data[at : at + length]
        elif change == 4:
            other = files[rng.integers(len(files))]
            start = int(rng.integers(len(other)))
            data[at : at + length] = other[start : start + length]
        else:
            del data[max(1, at) :]
    return bytes(data)


def test_a_spoiled_file_is_read_or_refused_and_tells_no_name(trials: Trials) -> None:
    files = originals()
    first = [read(data).display() for data in files]
    outcomes = {"read": 0, "refused": 0}
    for number, rng in enumerate(trials()):
        try:
            image = read(spoiled(rng, files))
        except ImageError as error:
            outcomes["refused"] += 1
            told = str(error)
        else:
            outcomes["read"] += 1
            assert image.display().dtype == np.uint8
            assert np.isfinite(image.pixels).all()
            told = repr(image.facts)
        assert not [part for part in NAME.split("^") if part in told.upper()], told
        if number % GENTLE == 0:
            which = number // GENTLE % len(files)
            np.testing.assert_array_equal(read(files[which]).display(), first[which])
    assert outcomes["read"]
    assert outcomes["refused"]
