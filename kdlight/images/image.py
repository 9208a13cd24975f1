"""What a file becomes: pixels with the facts needed to show them, and nothing that names a person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import InstanceOf

from kdlight.modality import Window


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One frame, decoded. It carries no name, id or date: `removed` lists which header facts were dropped.

    pixels: (H, W) float32 in modality units (after the modality LUT) for gray, (H, W, 3) uint8 RGB for color.
    """

    pixels: InstanceOf[np.ndarray]
    sha256: str
    format: str
    """dicom, png, jpeg, tiff, bmp or webp: by content, never by the file's name."""
    bits: int
    """Bits stored per sample, 1 to 64."""
    windows: tuple[Window, ...]
    """Display windows: the file's own first, then what fits its range. Empty for color."""
    modality: str | None = None
    """A key of `kdlight.modality.MODALITIES`, proposed from the header; None where the file does not say."""
    units: str = ""
    """HU for calibrated CT, else empty."""
    inverted: bool = False
    """MONOCHROME1: low values are bright. `display` inverts after the window."""
    voi_lut: InstanceOf[np.ndarray] | None = None
    """A VOI LUT of the file, as uint8 values over its input range, used when no window is asked for."""
    voi_first: int = 0
    """The pixel value that the first entry of `voi_lut` stands for."""
    frame: int = 0
    frames: int = 1
    spacing: tuple[float, float] | None = None
    """Millimeters per pixel (row, column); only their ratio counts where `spacing_kind` is aspect."""
    laterality: str | None = None
    orientation: str | None = None
    view: str | None = None
    """One of `kdlight.anatomy.VIEWS`; None where the file does not say."""
    body_part: str | None = None
    """A key of `kdlight.anatomy.BODY_PARTS`; None where the file does not say."""
    transfer_syntax: str | None = None
    removed: tuple[str, ...] = ()
    """Keywords of the header facts that were dropped, never their values."""
    photometric: str = ""
    """As the file says: MONOCHROME1, MONOCHROME2, RGB, PALETTE COLOR, YBR_FULL, ...; the pixels are gray or RGB."""
    spacing_kind: str | None = None
    """patient: in the body; detector: at the detector, not corrected for magnification; aspect: no millimeters."""
    burned_in: bool | None = None
    """Whether the header says that names are burned into the pixels; None where it does not say."""
    secondary: bool = False
    """A secondary capture: a screen, a film or a document caught as a picture, often with its text."""

    @property
    def color(self) -> bool:
        return self.pixels.ndim == 3

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def display(self, window: Window | None = None, invert: bool = False) -> np.ndarray:
        """What a person (and a model) sees: uint8 (H, W) for gray, (H, W, 3) for color.

        Without a window the file's VOI LUT is used, then its first window. MONOCHROME1 is inverted here, after the
        window, and nowhere else; `invert` flips what is shown once more.

        Readers differ over a Presentation LUT Shape of INVERSE on MONOCHROME2 (and of IDENTITY on MONOCHROME1), which
        the standard forbids (PS3.3 C.8.11.3: the one goes with the other). Here the photometric interpretation decides:
        every image has it, it alone says what a low value means, and the shape must follow it.
        """
        if self.color:
            shown = self.pixels
        elif window is None and self.voi_lut is not None:
            index = np.clip(np.rint(self.pixels) - self.voi_first, 0, len(self.voi_lut) - 1)
            shown = self.voi_lut[index.astype(np.int64)]
        else:
            shown = (window or self.windows[0]).apply(self.pixels)
        if self.inverted and not self.color:
            invert = not invert
        return 255 - shown if invert else shown
