"""The stages of skin preprocessing that stand between the resizing and the normalization of an InputSpec.

The skin-cancer system (Islam et al., arXiv 2406.17051) names six-stage preprocessing; its abstract does not give the
stages. Ours are: resize; hair removal; morphological opening and closing; CLAHE on L; denoising or gamma; normalize.
The first and the last are what every InputSpec does; here are the others, in the order of STAGES.

A stage is a pure function of uint8 RGB (H, W, 3) to the same, deterministic, in OpenCV's integer and float arithmetic.
All of its figures are ours. Lengths scale with the picture's longer side, so that a stage does the same at any size.
A changed figure changes what trained models see: give the changed stage a new name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""RGB (H, W, 3)."""

HAIR_CONTRAST = 12
"""Gray levels by which a hair is darker than the skin on both its sides."""
HAIR_WIDTH = 1 / 20
"""Widest hair, as a share of the longer side."""
HAIR_LENGTH = 1 / 6
"""Shortest straight run of a hair, as a share of the longer side: the strands of a pigment network are shorter."""
DIRECTIONS = 16
"""Angles at which straight runs are looked for, over half a turn."""
CLIP = 2.0
"""CLAHE: how far a histogram bin may stand above the mean of its tile's bins."""
TILE = 32
"""CLAHE: least side of a tile in pixels. OpenCV shares clipped counts out in whole numbers, which skews small tiles."""
NOISE = 30.0
"""Standard deviation, in gray levels, of what the bilateral filter still takes for noise."""
GAMMAS = (0.5, 2.0)
"""Strongest brightening and darkening."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step that a person can look at: what it does, in words, and the function that does it."""

    title: str
    summary: str
    apply: Callable[[Pixels], Pixels]


def remove_hair(pixels: Pixels) -> Pixels:
    """Dark hairs painted over from their surroundings: black-hat, threshold, inpainting (Telea 2004).

    Straight runs of some length are needed to tell hair from pigment, so curls and the ends of bent hairs stay.
    """
    import cv2

    mask = hair_mask(pixels)
    if not mask.any():
        return pixels.copy()
    grown = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    return np.asarray(cv2.inpaint(pixels, grown, _odd(pixels, 1 / 64), cv2.INPAINT_TELEA), dtype=np.uint8)


def hair_mask(pixels: Pixels) -> Pixels:
    """255 on hairs, else 0: uint8 (H, W).

    Black-hat (closing minus picture) finds what is dark and narrow. Of that only what lies on a straight run counts as
    hair (an opening by a line, at every angle): dots, a pigment network and the edge of a lesion stay.
    """
    import cv2

    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    width = _odd(pixels, HAIR_WIDTH)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    dark = (cv2.morphologyEx(gray, cv2.MORPH_BLACKHAT, kernel) >= HAIR_CONTRAST).astype(np.uint8) * 255
    hairs = np.zeros(gray.shape, dtype=np.uint8)
    for number in range(DIRECTIONS):
        line = _line(_odd(pixels, HAIR_LENGTH), math.pi * number / DIRECTIONS)
        hairs = np.maximum(hairs, np.asarray(cv2.morphologyEx(dark, cv2.MORPH_OPEN, line), dtype=np.uint8))
    return np.minimum(hairs, dark)


def _line(length: int, angle: float) -> Pixels:
    """A straight line one pixel wide through the middle of a square: uint8 (length, length)."""
    import cv2

    drawn, half = np.zeros((length, length), dtype=np.uint8), length // 2
    x, y = round(half * math.cos(angle)), round(half * math.sin(angle))
    return np.asarray(cv2.line(drawn, (half - x, half - y), (half + x, half + y), 1), dtype=np.uint8)


def morphology(pixels: Pixels) -> Pixels:
    """Bright, then dark specks smaller than the kernel flattened: opening, then closing, per channel."""
    import cv2

    width = _odd(pixels, 1 / 100)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    opened = cv2.morphologyEx(pixels, cv2.MORPH_OPEN, kernel)
    return np.asarray(cv2.morphologyEx(opened, cv2.MORPH_CLOSE, kernel), dtype=np.uint8)


def clahe(pixels: Pixels) -> Pixels:
    """Local contrast of the lightness evened out: CLAHE (Zuiderveld 1994) on L of CIELAB; color stays."""
    import cv2

    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    down, across = (min(8, max(1, side // TILE)) for side in pixels.shape[:2])
    lab[:, :, 0] = cv2.createCLAHE(clipLimit=CLIP, tileGridSize=(across, down)).apply(lab[:, :, 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), dtype=np.uint8)


def denoise(pixels: Pixels) -> Pixels:
    """Noise averaged away within areas of alike color, edges kept: bilateral filter (Tomasi and Manduchi 1998)."""
    import cv2

    return np.asarray(cv2.bilateralFilter(pixels, _odd(pixels, 1 / 25), NOISE, max(pixels.shape) / 64), dtype=np.uint8)


def gamma(pixels: Pixels) -> Pixels:
    """Brightness brought to the middle by one power curve: the exponent that takes the mean gray to one half."""
    mean = float(np.clip(pixels.mean() / 255, 1 / 255, 254 / 255))
    exponent = float(np.clip(math.log(0.5) / math.log(mean), *GAMMAS))
    curve = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return curve[pixels]


STAGES: dict[str, Stage] = {
    "hair": Stage("Hair removed", "Dark, long, thin lines are painted over from the skin beside them.", remove_hair),
    "morphology": Stage("Specks closed", "Opening and closing flatten bright and dark specks.", morphology),
    "clahe": Stage("Contrast evened", "Adaptive histogram equalization of the lightness; color stays.", clahe),
    "denoise": Stage("Noise removed", "A bilateral filter smooths within areas and keeps edges.", denoise),
    "gamma": Stage("Brightness centered", "A power curve brings the mean brightness to one half.", gamma),
}
"""By the name that an InputSpec's `stages` gives, in the order in which they are meant to stand."""


def check_stages(names: Sequence[str]) -> None:
    """Raises ValueError that names the known stages where one is unknown or stands twice."""
    for name in names:
        if name not in STAGES:
            raise ValueError(f"Unknown preprocessing stage {name!r}; some of {', '.join(STAGES)} were expected.")
    if len(set(names)) != len(names):
        raise ValueError(f"The preprocessing stages are {', '.join(names)}; each was expected once. Remove the double.")


def apply_stages(pixels: Pixels, names: Sequence[str]) -> Pixels:
    """All named stages in turn: uint8 RGB (H, W, 3) to the same."""
    for name in names:
        pixels = STAGES[name].apply(pixels)
    return pixels


def _odd(pixels: Pixels, share: float) -> int:
    """A share of the picture's longer side as the nearest odd number of pixels, 3 or more."""
    side: int = max(pixels.shape[:2])
    return max(3, 2 * round((share * side - 1) / 2) + 1)
