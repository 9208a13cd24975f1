"""What a card says of how its bundle tells the images that belong from those that do not."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kdlight.bundle.part import Count, Line, Part
from kdlight.contracts.reading import MisfitKind
from kdlight.metrics import Interval
from kdlight.metrics.drift import Drift
from kdlight.metrics.report import IF_KNOWN


class KindWithheld(Part):
    """How often images of one kind were withheld."""

    kind: Line
    """`own`, or one of `kdlight.trust.planted.PLANTED`."""
    n: Count
    share: Interval
    """0 to 1, with its 95 % Wilson interval."""


class Belonging(Part):
    """Limits, set on images that were held out of what they are fitted to; figures from the test split."""

    copies: tuple[MisfitKind, ...] = Field(max_length=10)  # type: ignore[valid-type, unused-ignore]
    """What an image may be mistaken for by the head, in its order; the first row of the head is as it should be."""
    distance: float = Field(gt=0)
    """Largest distance at which an image belongs."""
    odds: float = Field(ge=0)
    """Largest -log probability of being as it should be."""
    gray: bool
    """None of its images has color."""
    level: float = Field(gt=0, lt=1)
    """Share of the held-out images that each limit lets pass."""
    n: Count
    """Held-out images that the limits were set on."""
    kinds: tuple[KindWithheld, ...] = Field(default=(), max_length=100)
    drift: Annotated[Drift | None, IF_KNOWN] = None
    """The bundle's own test images against its held-out ones; None of a card from before that was kept."""
