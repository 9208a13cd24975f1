"""The table of modalities: DICOM codes, window presets, words for people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Window:
    """A display window in the units of the pixels: what lies outside center +- width / 2 is black or white."""

    center: float
    width: float
    name: str = ""

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise ValueError(f"The window width is {self.width}; a value above 0 was expected. Give a positive width.")

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (H, W) in modality units to uint8 (H, W): the LINEAR_EXACT function of DICOM PS3.3 C.11.2.1.3."""
        low = self.center - self.width / 2
        scaled = (pixels.astype(np.float32) - low) * (255.0 / self.width)
        return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


WINDOWS: dict[str, Window] = {
    name: Window(center, width, name)
    for name, center, width in (
        ("brain", 40, 80),
        ("subdural", 75, 215),
        ("stroke", 40, 40),
        ("soft tissue", 50, 400),
        ("mediastinum", 50, 350),
        ("lung", -600, 1500),
        ("bone", 500, 2000),
        ("abdomen", 50, 400),
        ("liver", 60, 150),
    )
}
"""CT presets in Hounsfield units, by name."""


@dataclass(frozen=True, slots=True)
class Modality:
    """One kind of picture: `codes` are DICOM Modality (0008,0060) values that propose it."""

    name: str
    words: str
    codes: tuple[str, ...] = ()
    presets: tuple[str, ...] = ()
    colour: bool = False


MODALITIES: dict[str, Modality] = {
    m.name: m
    for m in (
        Modality("xray", "X-ray", ("CR", "DX", "RG", "MG", "PX", "IO", "XA", "RF")),
        Modality("ct", "CT", ("CT",), tuple(WINDOWS)),
        Modality("mri", "MRI", ("MR",)),
        Modality("dermatoscopy", "Dermatoscopy", ("DMS",), colour=True),
        Modality("histopathology", "Histopathology", ("SM",), colour=True),
        Modality("ultrasound", "Ultrasound", ("US", "IVUS", "BDUS")),
        Modality("oct", "Retinal OCT", ("OPT", "OCT", "IVOCT")),
        Modality("fundus", "Fundus photograph", ("OP",), colour=True),
        Modality("blood", "Blood microscopy", ("GM",), colour=True),
        Modality("surface", "Surface defects", colour=True),
    )
}


def propose(code: str | None) -> str | None:
    """The modality that a DICOM Modality code stands for, None where the table has none. A proposal, never a decision."""
    for modality in MODALITIES.values():
        if code and code.upper() in modality.codes:
            return modality.name
    return None


def modality(name: str) -> Modality:
    """Look a modality up. Raises ValueError that names the known ones."""
    if name not in MODALITIES:
        raise ValueError(f"Unknown modality {name!r}; one of {', '.join(MODALITIES)} was expected.")
    return MODALITIES[name]
