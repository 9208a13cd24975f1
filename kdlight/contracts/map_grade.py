"""What is measured of a heat map, and whether it passes: typed, for page, CLI and card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MapFault = Literal["flat", "unstable", "unsupported", "model_blind"]
"""Why a map fails: it has no contrast; it changes when the image is moved by 2 pixels; the answer hangs on what it
marks no more than that of random weights may on theirs; random weights draw much the same map."""


@dataclass(frozen=True, slots=True)
class MapMeasures:
    """Of one map; likeness is Pearson correlation, -1 to 1, and 0 where the other map is flat."""

    gain: float
    """Mean of deletion and insertion: 0 is chance, higher is better."""
    deletion: float
    """Probability of the class, -1 to 1, lost by blurring what the map marks, beyond that by as large random parts."""
    insertion: float
    """Probability, -1 to 1, that is left by blurring all else, beyond that of as large random parts."""
    random_classifier: float
    """Likeness to the map of the same network with random weights in its last layer."""
    random_upper_half: float
    """The same, with random weights in the later half of its layers."""
    random_weights: float
    """The same, with random weights everywhere."""
    shift: float
    """Mean likeness to the maps of the image moved by 2 pixels, moved back."""
    noise: float
    """Likeness to the map of the image with a little noise."""
    mirror: float | None = None
    """Likeness to the map of the mirrored image, mirrored back; None where sides mean something."""
    outside: float | None = None
    """Share of the map beside the body, on air, border or markers, 0 to 1; None where there is no telling."""


@dataclass(frozen=True, slots=True)
class MapLimits:
    """What a map of a bundle's model must reach; both are lower limits."""

    gain: float
    shift: float


@dataclass(frozen=True, slots=True)
class MapGrade:
    """How far a heat map can be trusted."""

    measures: MapMeasures | None
    """None of a flat map."""
    faults: tuple[MapFault, ...]
    """What speaks against it, the weightiest first."""
    limits: MapLimits | None
    """None where nobody knows what to expect of such a map."""
    passed: bool | None
    """None where there are no limits and the map is not flat."""
