"""Files to try at once: what packages install beside themselves, and phantoms drawn here."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image

from kdlight.images.phantoms import PHANTOMS


class Kind(StrEnum):
    """What a sample is to the shipped bundles."""

    SUITED = "suited"
    """A real picture of the kind that one of them is made for."""
    PHANTOM = "phantom"
    """Drawn by arithmetic: it shows how the page works, and no answer to it means anything."""
    UNSUITED = "unsuited"
    """A real picture that none of them is made for: what should happen is a refusal."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One file to try."""

    name: str
    words: str
    """What it is, in a sentence; phantoms are called so."""
    modality: str | None
    """A key of `kdlight.modality.MODALITIES`; None where no bundle modality fits."""
    kind: Kind
    load: Callable[[], bytes]

    @property
    def synthetic(self) -> bool:
        return self.kind is Kind.PHANTOM

    @property
    def data(self) -> bytes:
        """The bytes of the file, for `read`; phantoms are drawn on first use."""
        return self.load()


_HEAD = Path("mpl-data", "sample_data", "s1045.ima.gz")
_HEAD_SIDE = 256
_FILES = (
    ("Head CT", "J2K_pixelrep_mismatch.dcm", "ct", "A head CT slice, JPEG 2000; the CT bundle knows chests only."),
    ("Abdomen MRI", "examples_overlay.dcm", "mri", "An abdominal MRI slice; the MRI bundle knows heads only."),
    ("Heart ultrasound", "examples_ybr_color.dcm", "ultrasound", "An echocardiogram; the bundle knows breasts only."),
    ("Small CT", "CT_small.dcm", "ct", "A CT slice of a spine, 128 x 128 pixels; the CT bundle knows chests only."),
    ("Bone scan", "JPGExtended.dcm", None, "A nuclear medicine scan, 12-bit JPEG; no bundle is made for it."),
)
_SYNTHETIC = "A synthetic phantom drawn by arithmetic, not a patient: no reading of it means anything."


def samples() -> list[Sample]:
    """What a shipped bundle is made for, then phantoms, then what none is made for; real ones as far as installed."""
    drawn = [
        Sample(name, f"{words} {_SYNTHETIC}", modality, Kind.PHANTOM, draw)
        for name, (modality, words, draw) in PHANTOMS.items()
    ]
    folder = _folder("pydicom") / "data" / "test_files"
    unsuited = [
        Sample(name, f"{words} A public test file of pydicom.", modality, Kind.UNSUITED, partial(_load, folder / file))
        for name, file, modality, words in _FILES
        if (folder / file).is_file()
    ]
    return [*_head(_folder("matplotlib") / _HEAD), *drawn, *unsuited]


def _head(path: Path) -> list[Sample]:
    words = "A sagittal MRI of a head without a tumor. A public sample of matplotlib."
    return [Sample("Head MRI", words, "mri", Kind.SUITED, partial(_head_png, path))] if path.is_file() else []


def _head_png(path: Path) -> bytes:
    """The bare values of the file, 16 bits of which 8 are used, as a PNG."""
    values = np.frombuffer(gzip.decompress(path.read_bytes()), ">u2").reshape(_HEAD_SIDE, _HEAD_SIDE)
    file = BytesIO()
    PIL.Image.fromarray(values.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@cache
def _folder(package: str) -> Path:
    """Where a package is installed; it is not imported for it."""
    found = find_spec(package)
    places = found.submodule_search_locations if found else None
    return Path(*(places or [""])[:1])


def _load(path: Path) -> bytes:
    return path.read_bytes()
