"""Files to try at once: phantoms that tools/draw_samples.py drew, and real ones that other packages install."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image


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
    path: Path
    modality: str | None
    """A key of `kdlight.contracts.modality.MODALITIES`; None where no bundle modality fits."""
    words: str
    """What it is, in a sentence; phantoms are called so."""
    kind: Kind

    @property
    def data(self) -> bytes:
        """The bytes of the file, for `read`; the bare values of matplotlib's are made a PNG."""
        raw = self.path.read_bytes()
        return raw if self.path.suffix != ".gz" else _png(np.frombuffer(gzip.decompress(raw), ">u2"))


_SYNTHETIC = " A synthetic phantom drawn by arithmetic, not a patient: no reading of it means anything."
_PYDICOM = " A public test file of pydicom."
_HEAD = "A sagittal MRI of a head without a tumor. A public sample of matplotlib."
_DRAWN = (
    ("Chest X-ray phantom", "chest_xray.dcm", "xray", "A frontal chest without a lesion."),
    ("Chest CT phantom", "chest_ct.dcm", "ct", "A slice through both lungs with a hazy patch."),
    ("Breast ultrasound phantom", "breast_ultrasound.png", "ultrasound", "Layered tissue with a dark oval."),
    ("Skin lesion phantom", "skin_lesion.png", "dermatoscopy", "A pigmented spot with hairs."),
    ("Histology phantom", "histology.png", "histopathology", "Glands in pink stroma."),
    ("Cracked brick phantom", "brick_crack.png", "surface", "A rough surface with a branching crack."),
    ("Brain MRI phantom", "brain_mri.dcm", "mri", "A head with a bright ring drawn into it, which is no tumor."),
)
_INSTALLED = (
    ("Head CT", "J2K_pixelrep_mismatch.dcm", "ct", "A head CT slice, JPEG 2000; the CT bundle knows chests only."),
    ("Abdomen MRI", "examples_overlay.dcm", "mri", "An abdominal MRI slice; the MRI bundle knows heads only."),
    ("Heart ultrasound", "examples_ybr_color.dcm", "ultrasound", "An echocardiogram; the bundle knows breasts only."),
    ("Small CT", "CT_small.dcm", "ct", "A CT slice of a spine, 128 x 128 pixels; the CT bundle knows chests only."),
    ("Bone scan", "JPGExtended.dcm", None, "A nuclear medicine scan, 12-bit JPEG; no bundle is made for it."),
)


@cache
def samples() -> tuple[Sample, ...]:
    """What a shipped bundle is made for, then phantoms, then what none is made for; real ones as far as installed."""
    head = _package("matplotlib") / "mpl-data" / "sample_data" / "s1045.ima.gz"
    drawn, installed = Path(__file__).parent / "phantoms", _package("pydicom") / "data" / "test_files"
    every = (
        Sample("Head MRI", head, "mri", _HEAD, Kind.SUITED),
        *(Sample(n, drawn / file, key, words + _SYNTHETIC, Kind.PHANTOM) for n, file, key, words in _DRAWN),
        *(Sample(n, installed / file, key, words + _PYDICOM, Kind.UNSUITED) for n, file, key, words in _INSTALLED),
    )
    return tuple(sample for sample in every if sample.path.is_file())


def _package(name: str) -> Path:
    """Where a package is installed; it is not imported for it."""
    spec = find_spec(name)
    return Path(*(spec.submodule_search_locations or [""] if spec else [""])[:1])


def _png(values: np.ndarray) -> bytes:
    """Square, 16 bits of which 8 are used."""
    side = int(np.sqrt(values.size))
    file = BytesIO()
    PIL.Image.fromarray(values.reshape(side, side).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
