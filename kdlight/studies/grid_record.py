"""The record of an ablation: grid.json (schema kdlight.grid/1)."""

from __future__ import annotations

from pydantic import Field

from kdlight.bundle.part import LenientPart
from kdlight.bundle.study_record import Gain, Scores, SeedScores
from kdlight.metrics import Interval
from kdlight.studies.gains import NOT_COMPARED

SCHEMA = "kdlight.grid/1"


class GridCell(LenientPart):
    """One combination of values, with what its study.json says."""

    name: str
    values: dict[str, str]
    """As text, by key."""
    study: str = ""
    """Path below the grid's folder."""
    seeds: tuple[SeedScores, ...]
    mean: Scores
    deviation: dict[str, float | None] = Field(default={})
    gain_over_alone: Interval | None
    gap_to_teacher: Gain = None
    gain: str = ""
    """`gain_over_alone` in words."""
    retained: float | None = None
    minutes: dict[str, float | None] = Field(default={})
    over_same_start: str = NOT_COMPARED
    """The gain over the same student from the same starting weights, in words."""


class Difference(LenientPart):
    """Balanced accuracy of the first cell's taught students less the second's, paired over seeds and images."""

    first: str
    second: str
    difference: Interval | None
    """0 to 1; None where the two were not tested on the same images."""
    words: str


class GridRecord(LenientPart):
    schema_: str = Field(alias="schema", pattern=r"^kdlight\.grid/")
    recipe: str
    metric: str = "balanced_accuracy"
    keys: tuple[str, ...]
    """What varies."""
    cells: tuple[GridCell, ...] = Field(min_length=1)
    differences: tuple[Difference, ...]
    """Of every two cells."""
