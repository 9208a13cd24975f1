"""What a document says, free of how it is written: sections of paragraphs, lists and tables, numbers with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kdlight.metrics import Interval

Unit = Literal["score", "percent", "points"]
UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number with its interval and the number of images that it rests on."""

    value: Interval | None
    """0 to 1, or a difference of such; None where it was not measured."""
    unit: Unit = "score"
    n: int | None = None

    def __str__(self) -> str:
        """0.92 [0.88, 0.95]; 92 % [88, 95]; +1.2 [-0.3, +2.9] in points; each with n where it is known."""
        if self.value is None:
            return UNKNOWN
        points = self.value.points
        if self.unit == "percent":
            bounds = "" if points.low is None or points.high is None else f" [{points.low:.0f}, {points.high:.0f}]"
            text = f"{points.value:.0f} %{bounds}"
        else:
            text = f"{points:+.1f}" if self.unit == "points" else str(self.value)
        return text if self.n is None else f"{text}, n = {self.n}"


Cell = str | Figure


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str
    strong: bool = False
    """What must not be overlooked."""


@dataclass(frozen=True, slots=True)
class Bullets:
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    heads: tuple[str, ...]
    """A second line says more of a column."""
    rows: tuple[tuple[Cell, ...], ...]
    """Each as long as `heads`."""
    row_heads: int = 1
    """First cells of a row that say what it is of."""


Block = Paragraph | Bullets | Table


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    blocks: tuple[Block, ...]
    folded: bool = False
    """Detail that a page shows one click away."""


@dataclass(frozen=True, slots=True)
class Document:
    title: str
    subtitle: str
    sections: tuple[Section, ...]
    footer: str = "Research and teaching use only"
    """At the foot of every page."""
