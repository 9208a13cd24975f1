"""How well a heat map covers what a person outlined: its share inside, the lift over an even map, the pointing game.

Pointing game: Zhang et al., ECCV 2016, https://arxiv.org/abs/1608.00507; share: the energy-based one of Wang et al.
2020 (Score-CAM). Dividing the share by the outline's share of the area is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from kdlight.metrics.intervals import Interval, intervals
from kdlight.metrics.report import IF_KNOWN, Measured
from kdlight.metrics.scores import MetricError

FIGURES = {
    "share": "Share of the map in the outlines",
    "lift": "Lift over an even map",
    "pointing": "Peak of the map in an outline",
}


@dataclass(frozen=True, slots=True)
class Overlap:
    """One map against one outline."""

    share: float
    """Of the map's mass inside the outline, 0 to 1."""
    lift: float
    """`share` over the outline's share of the area; 1 for an even map, higher is better."""
    pointing: float
    """1 where the map's largest value lies inside, else 0."""


class Located(Measured):
    """Means over `n` images, each with its 95 % interval."""

    n: int
    share: Annotated[Interval | None, IF_KNOWN] = None
    lift: Annotated[Interval | None, IF_KNOWN] = None
    pointing: Annotated[Interval | None, IF_KNOWN] = None


class LocatedByModel(Located):
    """Over the outlined images that a model answers rightly, and over `all` of them."""

    all: Located


class Localization(Measured):
    """The maps of both models, of one method."""

    method: str
    images: int
    """Outlined ones."""
    area: float
    """Mean share of the area outlined."""
    teacher: LocatedByModel
    student: LocatedByModel


def overlap(heat: np.ndarray, outline: np.ndarray) -> Overlap:
    """A map (h, w), values at least 0, against an outline bool (h, w) that holds a pixel or more.

    A map without contrast has a lift of 1 and points nowhere. Raises MetricError if the shapes differ or nothing is
    outlined.
    """
    area = float(outline.mean()) if outline.size else 0.0
    if heat.shape != outline.shape or not area:
        raise MetricError(
            f"The map is {heat.shape} and the outline {outline.shape} with {area:.0%} of it inside; one shape and an "
            f"outlined part were expected."
        )
    if np.ptp(heat) == 0:
        return Overlap(area, 1.0, 0.0)
    share = float(heat[outline].sum(dtype=np.float64) / heat.sum(dtype=np.float64))
    return Overlap(share, share / area, float(outline.flat[int(heat.argmax())]))


def localization(overlaps: Sequence[Overlap], labels: Any, groups: Any = None) -> Located:
    """Means over images. labels, groups: as in `intervals`.

    Raises MetricError where there is no image.
    """
    if not overlaps:
        raise MetricError("No image is outlined; one or more were expected. Give images with masks.")
    values = np.array([[getattr(one, name) for name in FIGURES] for one in overlaps])  # (N, figures)
    share, lift, pointing = intervals(lambda w: (w @ values) / w.sum(1, keepdims=True), np.asarray(labels), groups)
    return Located(n=len(overlaps), share=share, lift=lift, pointing=pointing)
