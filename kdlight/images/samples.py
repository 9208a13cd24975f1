"""Files to try at once: some that pydicom installs for its own tests, and phantoms drawn here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

from kdlight.images.phantoms import PHANTOMS


@dataclass(frozen=True, slots=True)
class Sample:
    """One file to try."""

    name: str
    words: str
    """What it is, in a sentence; phantoms are called so."""
    modality: str | None
    """A key of `kdlight.modality.MODALITIES`; None where no bundle modality fits."""
    synthetic: bool
    load: Callable[[], bytes]

    @property
    def data(self) -> bytes:
        """The bytes of the file, for `read`; phantoms are drawn on first use."""
        return self.load()


_FILES = (
    ("Head CT", "J2K_pixelrep_mismatch.dcm", "ct", "A head CT slice, JPEG 2000, three windows."),
    ("Abdomen MRI", "examples_overlay.dcm", "mri", "An abdominal MRI slice, 12 bits."),
    ("Heart ultrasound", "examples_ybr_color.dcm", "ultrasound", "An echocardiogram of 30 frames, JPEG in YCbCr."),
    ("Small CT", "CT_small.dcm", "ct", "A CT slice of 128 x 128 pixels with 16 bits."),
    ("Bone scan", "JPGExtended.dcm", None, "A nuclear medicine scan, 12-bit JPEG; no bundle is made for it."),
)
_SYNTHETIC = "A synthetic phantom drawn by arithmetic, not a patient: no reading of it means anything."


def samples() -> list[Sample]:
    """The phantoms, then those of pydicom's public test files that this installation has."""
    drawn = [Sample(name, _SYNTHETIC, modality, True, draw) for name, (modality, draw) in PHANTOMS.items()]
    folder = _folder()
    real = [
        Sample(name, f"{words} A public test file of pydicom.", modality, False, partial(_load, folder / file))
        for name, file, modality, words in _FILES
        if (folder / file).is_file()
    ]
    return drawn + real


@cache
def _folder() -> Path:
    """Where pydicom keeps its test files; pydicom itself is not imported for it."""
    found = find_spec("pydicom")
    places = found.submodule_search_locations if found else None
    return Path(*(places or [""])[:1], "data", "test_files")


def _load(path: Path) -> bytes:
    return path.read_bytes()
