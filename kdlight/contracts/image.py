"""What a file becomes: pixels with the facts needed to show them, and nothing that names a person."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, ConfigDict, InstanceOf

from kdlight.contracts.modality import Window
from kdlight.contracts.reading import Facts, Stated


def _pixels(array: np.ndarray) -> np.ndarray:
    """Raises ValueError for what are no pixels of an Image."""
    kinds = {2: "float32", 3: "uint8"}
    if array.dtype != kinds.get(array.ndim) or not array.size or array.shape[2:] not in ((), (3,)):
        raise ValueError("Pixels are float32 (H, W) or uint8 (H, W, 3).")
    if array.ndim == 2 and not np.isfinite((array.min(), array.max())).all():
        raise ValueError("Pixels are finite.")
    return array


def _table(array: np.ndarray) -> np.ndarray:
    """Raises ValueError for what is no lookup table of an Image."""
    if array.dtype != np.uint8 or array.ndim != 1 or not 1 <= array.size <= 1 << 16:
        raise ValueError("A VOI LUT is uint8 (N,), of 1 to 65536 entries.")
    return array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Image(Stated):
    """One frame, decoded.

    pixels: (H, W) float32 in modality units (after the modality LUT) for gray, (H, W, 3) uint8 RGB for color.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    pixels: Annotated[InstanceOf[np.ndarray], AfterValidator(_pixels)]
    voi_lut: Annotated[InstanceOf[np.ndarray], AfterValidator(_table)] | None = None
    """A VOI LUT of the file, as uint8 values over its input range, used when no window is asked for."""
    voi_first: int = 0
    """The pixel value that the first entry of `voi_lut` stands for."""

    @property
    def facts(self) -> Facts:
        """What may be told of it: nothing that names a person, a place or a time."""
        stated = {field.name: getattr(self, field.name) for field in fields(Stated)}
        rows, columns = self.shape
        return Facts(**stated, rows=rows, columns=columns, color=self.color, voi_lut=self.voi_lut is not None)

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
