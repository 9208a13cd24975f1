"""Where both models look, over a set, with pictures of the images on which that differs most. Worker only."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import numpy as np
import PIL.Image

from kdlight.bundle import Bundle
from kdlight.contracts.reading import ROLES, Role
from kdlight.explain.likeness import on_grid
from kdlight.inference import evaluate, measures
from kdlight.metrics.look_alike import LookAlike, MapCase
from kdlight.workers.requests import ShownCase

PICTURED = 12
"""Images that are drawn of those whose maps, and of those whose probabilities, are farthest apart."""
SIDE = 160
OPACITY = 0.45
ShownCases = tuple[ShownCase, ...]


def looks(bundle: Bundle, measured: evaluate.Evaluation, progress: evaluate.Progress) -> tuple[LookAlike, ShownCases]:
    """The figures without their cases, and every case with its file; PICTURED of each order have both maps drawn."""
    grids: list[Mapping[Role, np.ndarray]] = []
    found = measures.look_alike_of(
        bundle, measured, progress, lambda _, maps: grids.append({role: on_grid(maps[role]) for role in ROLES})
    )
    cases = found.cases or ()
    rows = {item.ref: row for row, item in enumerate(measured.part.items)}
    pictured = {case.path for key in (map_gap, probability_gap) for case in sorted(cases, key=key)[-PICTURED:]}
    shown = []
    for case, maps in zip(cases, grids, strict=True):
        pixels = measured.pixels[rows[case.path]]
        drawn = {role: overlay(pixels, maps[role]) for role in ROLES} if case.path in pictured else {}
        shown.append(ShownCase(**dict(case), file=measured.part.source.file(case.path), pictures=drawn))
    return found.model_copy(update={"cases": None}), tuple(shown)


def map_gap(case: MapCase) -> float:
    """Flat maps, which cannot be compared, come first: least apart."""
    return -1.0 if case.map_gap is None else case.map_gap


def probability_gap(case: MapCase) -> float:
    return case.probability_gap


def overlay(pixels: np.ndarray, heat: np.ndarray) -> str:
    """A map (h, w) in [0, 1] over an image uint8 (S, S, 3): a PNG in base64."""
    import matplotlib

    picture = PIL.Image.fromarray(pixels).resize((SIDE, SIDE))
    values = np.asarray(
        PIL.Image.fromarray(heat.astype(np.float32)).resize((SIDE, SIDE), PIL.Image.Resampling.BILINEAR)
    )
    share = OPACITY * np.clip(values / OPACITY, 0, 1)[..., None]
    color = matplotlib.colormaps["inferno"](np.clip(values, 0, 1))[..., :3] * 255
    mixed = ((1 - share) * np.asarray(picture) + share * color).astype(np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(mixed).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
