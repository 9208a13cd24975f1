"""The table of modalities: DICOM codes, window presets, words for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field, FiniteFloat

FUNCTIONS = ("linear_exact", "linear", "sigmoid")
"""VOI LUT functions of DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3."""
BLOCK = 1 << 16
"""Pixels that a window is applied to at once: what is between stays in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Window:
    """A display window in the units of the pixels: what lies outside center +- width / 2 is black or white."""

    center: FiniteFloat
    width: FiniteFloat
    name: Annotated[str, Field(max_length=100)] = ""
    function: str = "linear_exact"
    """One of FUNCTIONS. What a person sets is linear_exact; `linear` and `sigmoid` come from DICOM headers."""

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise ValueError(f"The window width is {self.width}; a value above 0 was expected. Give a positive width.")
        if self.function not in FUNCTIONS:
            raise ValueError(f"Unknown window function; one of {', '.join(FUNCTIONS)} was expected.")

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (H, W) in modality units to uint8 (H, W), 0 black to 255 white."""
        if self.function == "sigmoid":
            slope = np.float32(-4 / self.width)
            exponent = np.clip((pixels.astype(np.float32) - np.float32(self.center)) * slope, -80, 80)
            curve: np.ndarray = np.rint(255 / (1 + np.exp(exponent))).astype(np.uint8)
            return curve
        low, width = self._ramp()
        if width <= 0:
            return np.where(pixels > low, np.uint8(255), np.uint8(0))
        flat, shown = pixels.reshape(-1), np.empty(pixels.size, dtype=np.uint8)
        room = np.empty(min(BLOCK, pixels.size), dtype=np.float32)
        for start in range(0, pixels.size, BLOCK):
            part = flat[start : start + BLOCK]
            scaled = room[: len(part)]
            np.subtract(part, np.float32(low), out=scaled, dtype=np.float32, casting="unsafe")
            np.multiply(scaled, np.float32(255.0 / width), out=scaled)
            shown[start : start + BLOCK] = np.clip(np.rint(scaled, out=scaled), 0, 255, out=scaled)
        return shown.reshape(pixels.shape)

    def _ramp(self) -> tuple[float, float]:
        """Where the ramp begins, and how wide it is. `linear` is half a unit lower and one unit narrower than exact.

        DICOM defines `linear` for widths of 1 and more; a narrower one (calibrated slopes) is taken as exact.
        """
        if self.function == "linear" and self.width >= 1:
            return self.center - 0.5 - (self.width - 1) / 2, self.width - 1
        return self.center - self.width / 2, self.width


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
    color: bool = False
    air: bool = False
    """Dark parts that are joined to the border of a picture are beside the body."""


MODALITIES: dict[str, Modality] = {
    m.name: m
    for m in (
        Modality("xray", "X-ray", ("CR", "DX", "RG", "MG", "PX", "IO", "XA", "RF"), air=True),
        Modality("ct", "CT", ("CT",), tuple(WINDOWS), air=True),
        Modality("mri", "MRI", ("MR",), air=True),
        Modality("dermatoscopy", "Dermatoscopy", ("DMS",), color=True),
        Modality("histopathology", "Histopathology", ("SM",), color=True),
        Modality("ultrasound", "Ultrasound", ("US", "IVUS", "BDUS"), air=True),
        Modality("oct", "Retinal OCT", ("OPT", "OCT", "IVOCT")),
        Modality("fundus", "Fundus photograph", ("OP",), color=True),
        Modality("endoscopy", "Endoscopy", ("ES",), color=True),
        Modality("blood", "Blood microscopy", ("GM",), color=True),
        Modality("surface", "Surface defects"),
    )
}


def propose(code: str | None) -> str | None:
    """The modality that a DICOM Modality code stands for, None where the table has none. Only a proposal."""
    for modality in MODALITIES.values():
        if code and code.upper() in modality.codes:
            return modality.name
    return None


def modality(name: str) -> Modality:
    """Look a modality up. Raises ValueError that names the known ones."""
    if name not in MODALITIES:
        raise ValueError(f"Unknown modality {name!r}; one of {', '.join(MODALITIES)} was expected.")
    return MODALITIES[name]
