"""How far a heat map can be trusted, in plain words. The measures and their limits are ours; no paper sets them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DIFFUSE = 0.2
"""Below this share in the strongest tenth (0.1 is a uniform map) no region stands out."""
FOCUSED = 0.4
RIM = 0.125
"""Width of the outer border as a share of each side; a uniform map has 0.44 of its mass there."""
ON_RIM = 0.5


@dataclass(frozen=True, slots=True)
class Grade:
    """What can be read from a map."""

    kind: str
    """flat, diffuse, broad, focused or border."""
    words: str
    focus: float
    """Share of the map's mass in the strongest tenth of the area, 0.1 (uniform) to 1; 0 when flat."""
    border: float
    """Share of the map's mass on the outer border, 0 to 1; 0 when flat."""

    @property
    def flat(self) -> bool:
        return self.kind == "flat"


def grade(heat: np.ndarray) -> Grade:
    """Grade a map (h, w) in [0, 1]. A map on the border is called out: models often learn markers and burnt-in text."""
    if not np.isfinite(heat).all() or np.ptp(heat) == 0:
        return Grade("flat", "Flat: the map has no contrast, so nothing can be read from it.", 0.0, 0.0)
    focus, border = _focus(heat), _border(heat)
    kind = _kind(focus, border)
    return Grade(kind, _words(kind, focus, border), focus, border)


def similarity(a: np.ndarray, b: np.ndarray) -> float | None:
    """Pearson correlation of two maps of one shape, -1 to 1; None where one is flat.

    Raises ValueError if the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"The maps are {a.shape} and {b.shape}; one shape was expected. Make both for one image.")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.clip(np.corrcoef(a.ravel(), b.ravel())[0, 1], -1.0, 1.0))


def _words(kind: str, focus: float, border: float) -> str:
    if kind == "diffuse":
        return f"Diffuse: no region stands out; the strongest tenth of the image holds {focus:.0%} of the map."
    if kind == "border":
        where = f"On the border: {border:.0%} of the map lies at the edge of the image."
        return f"{where} Look for markers, text or frames there: the answer may rest on them."
    return f"{kind.capitalize()}: {focus:.0%} of the map lies in a tenth of the image."


def _kind(focus: float, border: float) -> str:
    if focus < DIFFUSE:
        return "diffuse"
    if border >= ON_RIM:
        return "border"
    return "focused" if focus >= FOCUSED else "broad"


def _focus(heat: np.ndarray) -> float:
    values = heat.ravel().astype(np.float64)
    count = max(1, round(values.size / 10))
    return float(np.partition(values, -count)[-count:].sum() / values.sum())


def _border(heat: np.ndarray) -> float:
    rows, columns = (max(1, round(side * RIM)) for side in heat.shape)
    inner = heat[rows : heat.shape[0] - rows, columns : heat.shape[1] - columns].astype(np.float64)
    return float(1 - inner.sum() / heat.astype(np.float64).sum())
