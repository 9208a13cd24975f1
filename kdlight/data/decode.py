"""One file of a set to an Image: a fast way for plain pictures, the images room's sandbox for everything else."""

from __future__ import annotations

import hashlib
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps

from kdlight import images
from kdlight.data.dataset import DataError
from kdlight.images import Image
from kdlight.modality import Window

MAX_BYTES = 64 * 2**20
PLAIN = {"JPEG": "jpeg", "PNG": "png", "BMP": "bmp"}
"""Formats read in this process where their pixels are plain 8-bit gray or RGB."""


def decode_file(path: Path) -> Image:
    """Decode one file. Raises DataError that names it and says why; an unreadable image is never replaced."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is larger than {MAX_BYTES // 2**20} MB; remove it or make it smaller.")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}. Restore it or remove it from the set.") from error
    try:
        return _plain(data) or images.read(data)
    except ValueError as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error


def _plain(data: bytes) -> Image | None:
    """The Image of an 8-bit gray or RGB picture, pixel for pixel as `images.read` gives it; None for any other file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with PIL.Image.open(BytesIO(data), formats=tuple(PLAIN)) as picture:
                if picture.mode not in ("L", "RGB"):
                    return None
                kind = PLAIN[picture.format or ""]
                upright = PIL.ImageOps.exif_transpose(picture)
    except PIL.UnidentifiedImageError:
        return None
    except (OSError, SyntaxError, EOFError, Warning) as error:
        raise ValueError(f"{error}. Replace the file or remove it from the set.") from error
    pixels = np.asarray(upright)
    gray = pixels.ndim == 2
    return Image(
        pixels=pixels.astype(np.float32) if gray else pixels,
        sha256=hashlib.sha256(data).hexdigest(),
        format=kind,
        bits=8,
        windows=(Window(127.5, 255),) if gray else (),
    )
