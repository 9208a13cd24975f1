"""Damaged files of every format, one after the other: each is an image that can be shown or a refusal in a sentence."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import tifffile

from kdlight.images import Image, ImageError, read
from kdlight.images.sandbox import SANDBOX, Decoder

INSTALLED = Path(pydicom.__file__).parent / "data" / "test_files"
DICOM = (
    *("MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm", "JPEG2000.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPGExtended.dcm"),
    *(
        "CT_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "image_dfl.dcm",
        "rtdose.dcm",
        "UN_sequence.dcm",
    ),
)


def pictures() -> Iterator[bytes]:
    """Small pictures in each format that is read, gray and color, with 8 and 16 bits, several of them compressed."""
    color = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    for format_, options in (("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("BMP", {})):
        buffer = BytesIO()
        PIL.Image.fromarray(color).save(buffer, format_, **options)
        yield buffer.getvalue()
    for compression in ("none", "lzw", "deflate", "zstd", "jpeg2000", "lerc"):
        buffer = BytesIO()
        tifffile.imwrite(buffer, color[..., 0].astype(np.uint16), compression=compression)
        yield buffer.getvalue()


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, cut out, doubled, zeroed, or a length made huge; the end cut off."""
    content = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        at, length = int(rng.integers(len(content))), int(rng.integers(1, 200))
        change = rng.integers(6)
        if change == 0:
            content[at] = rng.integers(256)
        elif change == 1:
            del content[at : at + length]
        elif change == 2:
            content[at:at] = content[at : at + length]
        elif change == 3:
            content[at : at + length] = bytes(len(content[at : at + length]))
        elif change == 4:
            content[at : at + 4] = struct.pack("<I", rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]))
        elif rng.random() < 0.3:
            del content[at:]
        content = content or bytearray(b"\0")
    return bytes(content)


def test_any_file_is_an_image_or_a_refusal(trials: Callable[[], Iterator[np.random.Generator]]) -> None:
    files = [(INSTALLED / name).read_bytes() for name in DICOM] + list(pictures())
    witness = (INSTALLED / "CT_small.dcm").read_bytes()
    truth, reasons = read(witness).pixels, Counter[str]()
    with Decoder(SANDBOX) as decoder:
        for number, rng in enumerate(trials()):
            data = damaged(files[int(rng.integers(len(files)))], rng)
            try:
                image = read(data, decoder=decoder)
            except ImageError as error:
                reasons[error.reason] += 1
                reasons["no sentence"] += not str(error).endswith(".") or not str(error).isprintable()
            else:
                assert isinstance(image, Image)
                assert image.display().shape[:2] == image.shape
            if number % 16 == 0:
                assert np.array_equal(read(witness, decoder=decoder).pixels, truth)
    assert reasons["no sentence"] == 0
    assert reasons.total() > 0
    assert {reason: reasons[reason] for reason in ("crash", "time") if reasons[reason]} == {}
