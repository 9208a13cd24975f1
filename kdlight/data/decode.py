"""One file of a set to an Image: plain pictures in this process, everything else in the images room's sandbox."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from kdlight.data.dataset import DataError
from kdlight.images import Image, read, sniff
from kdlight.images.limits import LIMITS
from kdlight.images.picture import decode_picture

PLAIN = ("jpeg", "png")
"""Decoded here by the sandbox's own function: the person's own training set, thousands of files, a child for each would
take several times as long."""


def decode_file(path: Path, frame: int = 0) -> Image:
    """Decode one frame. Raises DataError that names the file and says why; an unreadable image is never replaced."""
    try:
        if path.stat().st_size > LIMITS.bytes:
            raise DataError(f"{path} is larger than {LIMITS.bytes // 2**20} MB; make it smaller or remove it.")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}. Restore it or remove it from the set.") from error
    try:
        kind = sniff(data)
        if kind in PLAIN:
            return replace(decode_picture(data, frame, kind), sha256=hashlib.sha256(data).hexdigest())
        return read(data, frame)
    except ValueError as error:
        raise DataError(f"{path} cannot be read as an image. {error} Replace it or remove it from the set.") from error
