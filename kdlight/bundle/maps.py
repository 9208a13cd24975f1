"""What a card says of its models' heat maps: what they must reach, how often they do, and maps of random weights do."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kdlight.bundle.part import Count, Name, Part
from kdlight.contracts.map_grade import MapLimits
from kdlight.contracts.reading import Role
from kdlight.metrics import Interval
from kdlight.metrics.report import IF_KNOWN

Limit = Annotated[float, Field(ge=-1, le=1)]


class PassRates(Part):
    """Of one model, on test images; shares from 0 to 1 with their 95 % intervals."""

    maps: Interval
    """Of the maps of the model's own answer."""
    random: Interval
    """Of the maps of networks of the same kind with random weights."""
    random_n: Count
    """Such maps."""


class MapFigures(Part):
    """Of one method. Limits come from validation images and random weights, shares from test and other weights."""

    method: Name
    gain: Limit
    shift: Limit
    """Least values, see `kdlight.contracts.map_grade.MapMeasures`."""
    n: Count
    """Validation images that set the limits."""
    tested: Count
    """Test images."""
    passed: dict[Role, PassRates]
    seeds: Annotated[Count | None, IF_KNOWN] = None
    """Students of other seeds, whose maps were held against the student's; None where none were kept."""
    reproducible: Annotated[Interval | None, IF_KNOWN] = None
    """Mean likeness of their maps of the same class to the student's, -1 to 1, over test images."""

    @property
    def limits(self) -> MapLimits:
        return MapLimits(self.gain, self.shift)
