"""What the decoding child runs."""

from __future__ import annotations

from kdlight.contracts.image import Image
from kdlight.images.dicom import count_frames, decode_dicom
from kdlight.images.picture import count_pages, decode_picture
from kdlight.images.sniff import refusal, sniff

HEAD = 512
"""Bytes that tell the type."""


def decode(data: bytes, frame: int) -> Image:
    """One frame of a file by its content. Raises ImageError with the reason for a refusal."""
    kind = sniff(data[:HEAD])
    if kind is None:
        raise refusal(data[:HEAD])
    return decode_dicom(data, frame) if kind == "dicom" else decode_picture(data, frame, kind)


def count(data: bytes) -> int:
    """Frames of a DICOM file, pages of a TIFF, pictures of an animated WebP or PNG, by the headers alone.

    1 for every other file. Raises as `decode`, and whatever the libraries raise.
    """
    kind = sniff(data[:HEAD])
    return count_frames(data) if kind == "dicom" else count_pages(data, kind) if kind else 1
