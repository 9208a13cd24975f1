"""The one function that the decoding child runs."""

from __future__ import annotations

from kdlight.contracts.image import Image
from kdlight.images.dicom import decode_dicom
from kdlight.images.picture import decode_picture
from kdlight.images.sniff import refusal, sniff

HEAD = 512
"""Bytes that tell the type."""


def decode(data: bytes, frame: int) -> Image:
    """One frame of a file by its content. Raises ImageError with the reason for a refusal."""
    kind = sniff(data[:HEAD])
    if kind is None:
        raise refusal(data[:HEAD])
    return decode_dicom(data, frame) if kind == "dicom" else decode_picture(data, frame, kind)
