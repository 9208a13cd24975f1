"""How many frames a file holds, from its header alone."""

from __future__ import annotations

import contextlib
import warnings
from functools import lru_cache
from pathlib import Path

import PIL.Image
import pydicom

from kdlight.images import sniff
from kdlight.images.tiff import pages

HEAD = 1024
"""Bytes that tell the type."""


def frame_count(path: Path) -> int:
    """Frames of a DICOM file, pages of a TIFF, pictures of an animated WebP or PNG.

    1 for every other file, and where the header cannot be read.
    """
    found = path.stat()
    return _frame_count(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=200_000)
def _frame_count(path: Path, _size: int, _changed: int) -> int:
    with path.open("rb") as file:
        head = file.read(HEAD)
        kind = sniff(head)
        with contextlib.suppress(Exception), warnings.catch_warnings():  # what is wrong is said when it is decoded
            warnings.simplefilter("ignore")
            if kind == "dicom":
                return _of_dicom(path)
            if kind == "tiff":
                file.seek(0)
                return max(1, len(pages(file)))
            if kind == "webp" or (kind == "png" and b"acTL" in head):
                with PIL.Image.open(path, formats=[kind]) as picture:
                    return int(getattr(picture, "n_frames", 1))
    return 1


def _of_dicom(path: Path) -> int:
    header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=["NumberOfFrames"])
    return max(1, int(header.get("NumberOfFrames") or 1))
