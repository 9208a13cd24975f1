"""The result of reading one scan: one frozen record that page, CLI, PDF and DICOM output are all made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Role = Literal["teacher", "student"]
ROLES: tuple[Role, Role] = ("teacher", "student")


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """Where a model looked. `values` (h, w) float32 in [0, 1] lie over the whole image; enlarge them to lay them on.

    They have the image's rows and columns, or fewer in the same proportion where it is larger than 512 pixels.
    """

    method: str
    class_name: str
    values: np.ndarray
    flat: bool
    """True where the map has no contrast: nothing can be read from it, and `values` is all zeros."""
    note: str
    """The grade in words."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one model says of one scan."""

    role: Role
    architecture: str
    probabilities: dict[str, float]
    """Calibrated, per class name in the bundle's order; they sum to 1."""
    prediction: str
    prediction_set: tuple[str, ...]
    """Split-conformal set at the bundle's level; never empty."""
    seconds: float
    """Prepared input to probabilities."""
    parameters: int
    bytes: int
    """Size on disk of the weights as shipped."""
    heat_map: HeatMap | None = None

    @property
    def confidence(self) -> float:
        return self.probabilities[self.prediction]


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Whether the bundle was made for such a file. `reasons` are sentences; empty when eligible."""

    eligible: bool
    reasons: tuple[str, ...] = ()
    confirmed: bool = False
    """The person asked for the reading in spite of the reasons."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Schema kdlight.reading/1."""

    bundle: str
    bundle_version: str
    bundle_sha256: str
    image: dict[str, Any]
    """De-identified facts of `kdlight.images.facts`."""
    eligibility: Eligibility
    teacher: Opinion
    student: Opinion
    map_similarity: float | None = None
    """Pearson correlation of the two heat maps, -1 to 1; None without maps or where one is flat."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Stages: prepare, teacher_map and student_map where maps were made, total."""

    @property
    def agree(self) -> bool:
        return self.teacher.prediction == self.student.prediction

    @property
    def times_smaller(self) -> float:
        return self.teacher.bytes / self.student.bytes

    @property
    def times_faster(self) -> float:
        return self.teacher.seconds / self.student.seconds

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; heat maps are given by their grade, not their pixels."""
        values = asdict(self)
        for role in ROLES:
            heat = values[role]["heat_map"]
            if heat is not None:
                heat["shape"] = list(heat.pop("values").shape)
        return {
            "schema": "kdlight.reading/1",
            **values,
            "agree": self.agree,
            "times_smaller": self.times_smaller,
            "times_faster": self.times_faster,
        }
