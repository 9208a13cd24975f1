"""The result of reading one scan: one frozen record that page, CLI, PDF and DICOM output are all made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat, InstanceOf, NonNegativeInt, PositiveInt

from kdlight.contracts.map_grade import MapGrade
from kdlight.contracts.map_likeness import MapLikeness
from kdlight.contracts.modality import Window

SCHEMA = "kdlight.reading/3"
Role = Literal["teacher", "student"]
ROLES: tuple[Role, Role] = ("teacher", "student")
Word = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9 _.,:/()\[\]+-]*$")]
"""A term of a closed list or of the standard: none has a sign that markup begins with."""


class Verdict(StrEnum):
    """What a reading comes to; where several hold, the first of them counts."""

    WITHHELD = "withheld"
    """The bundle was not made for such an image: its answers do not count, also where a person asked for them."""
    DISAGREE = "disagree"
    """The two models answer different classes."""
    UNDECIDED = "undecided"
    """One answer, but the two most probable classes of a model lie within its calibration error."""
    CANNOT_RULE_OUT = "cannot_rule_out"
    """One answer, but a class that must not be missed is not ruled out by a model that answers another."""
    AGREE = "agree"
    """Both are decided on the same class, and no class that must not be missed is left open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a file says of one of its images. No name, id or date: `removed` lists which header facts were dropped."""

    sha256: Annotated[str, Field(max_length=64)]
    format: Word
    """dicom, png, jpeg, tiff, bmp or webp: by content, never by the file's name."""
    bits: Annotated[int, Field(ge=1, le=64)]
    """Bits stored per sample, 1 to 64."""
    windows: Annotated[tuple[Window, ...], Field(max_length=200)]
    """Display windows: the file's own first, then what fits its range. Empty for color."""
    modality: Word | None = None
    """A key of `kdlight.contracts.modality.MODALITIES`, proposed from the header; None where the file does not say."""
    units: Word = ""
    """HU for calibrated CT, else empty."""
    inverted: bool = False
    """MONOCHROME1: low values are bright."""
    frame: NonNegativeInt = 0
    frames: PositiveInt = 1
    spacing: tuple[FiniteFloat, FiniteFloat] | None = None
    """Millimeters per pixel (row, column); only their ratio counts where `spacing_kind` is aspect."""
    laterality: Word | None = None
    orientation: Word | None = None
    view: Word | None = None
    """One of `kdlight.contracts.anatomy.VIEWS`; None where the file does not say."""
    body_part: Word | None = None
    """A key of `kdlight.contracts.anatomy.BODY_PARTS`; None where the file does not say."""
    transfer_syntax: Word | None = None
    removed: Annotated[tuple[Word, ...], Field(max_length=10_000)] = ()
    """Keywords of the header facts that were dropped, never their values."""
    photometric: Word = ""
    """As the file says: MONOCHROME1, MONOCHROME2, RGB, PALETTE COLOR, YBR_FULL, ...; the pixels are gray or RGB."""
    spacing_kind: Word | None = None
    """patient: in the body; detector: at the detector, not corrected for magnification; aspect: no millimeters."""
    burned_in: bool | None = None
    """Whether the header says that names are burned into the pixels; None where it does not say."""
    secondary: bool = False
    """A secondary capture: a screen, a film or a document caught as a picture, often with its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(Stated):
    """What may be told of a decoded image."""

    rows: int
    columns: int
    color: bool
    voi_lut: bool
    """Whether the file has a VOI LUT."""


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """Where a model looked. `values` (h, w) float32 in [0, 1] lie over the whole image; enlarge them to lay them on.

    They have the image's rows and columns, or fewer in the same proportion where it is larger than 512 pixels.
    """

    method: str
    class_name: str
    values: InstanceOf[np.ndarray]
    flat: bool
    """True where the map has no contrast: nothing can be read from it, and `values` is all zeros."""
    note: str
    """The grade and what the method says of this map, in words."""
    seconds: float
    cells: tuple[float, ...] = ()
    """The map's grain: the side of one cell in pixels of the model's input, for each layer that it is made of; empty
    where every pixel has a value of its own."""
    input_size: int = 0
    """Side of the model's input in pixels; 0 where it is not known."""
    grade: MapGrade | None = None
    """None where nobody measured it."""

    @property
    def failed(self) -> bool:
        """Whether it is known that nothing should be read from it."""
        return self.flat or (self.grade is not None and self.grade.passed is False)

    @property
    def grain(self) -> str:
        """The grain in words, empty where there is nothing to say, as of a flat map."""
        if self.flat or not self.cells or not self.input_size:
            return ""
        sides = " to ".join(f"{side:.0f}" for side in sorted({min(self.cells), max(self.cells)}))
        return f"One cell of the map is {sides} px of the model's {self.input_size}."


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
    margin: float
    """Lead of the first class over the second, 0 to 1, below which calibration error could reverse them."""
    parameters: int
    bytes: int
    """Size on disk of the weights as shipped."""
    heat_map: HeatMap | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    """Of classes that must not be missed: the least probability at which one is not ruled out."""

    def holds_possible(self, name: str) -> bool:
        """Whether it answers a class or does not rule it out; without a threshold its prediction set tells."""
        threshold = self.thresholds.get(name)
        inside = name in self.prediction_set if threshold is None else self.probabilities[name] >= threshold
        return inside or name == self.prediction

    @property
    def confidence(self) -> float:
        return self.probabilities[self.prediction]

    @property
    def leading(self) -> tuple[str, ...]:
        """The two most probable classes, the likelier first; one where there is only one class."""
        return tuple(sorted(self.probabilities, key=lambda name: -self.probabilities[name])[:2])

    @property
    def decided(self) -> bool:
        """Whether the lead of the first class is at least `margin`; NaN never is."""
        first, *second = (self.probabilities[name] for name in self.leading)
        return first - sum(second) >= self.margin


MisfitKind = Literal[
    "modality", "body_part", "view", "size", "blank", "color",
    "turned", "upside_down", "mirrored", "inverted", "swapped_channels", "unlike",
]  # fmt: skip
"""What keeps an image from a bundle: what its header says, its size, nothing in it, gray for color or color for gray;
turned by 90 degrees to either side, the wrong way up, mirrored where sides mean something, dark for bright, red for
blue; or unlike the bundle's images by the distance of its features."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """One way in which an image is not of the kind that a bundle knows."""

    kind: MisfitKind
    value: float | None = None
    """What was measured: the probability of the copy (turned to swapped_channels), 0 to 1; of an unlike one the
    distance. None where nothing is measured."""
    limit: float | None = None
    """Of an unlike one the distance up to which an image belongs."""


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Whether the bundle was made for such a file. `reasons` are sentences; empty when eligible."""

    eligible: bool
    reasons: tuple[str, ...] = ()
    confirmed: bool = False
    """The person asked for the reading in spite of the reasons."""
    misfits: tuple[Misfit, ...] = ()
    """What each of the reasons is, in their order."""
    distance: float | None = None
    """From the bundle's images, as a share of the largest distance at which an image belongs; None where nobody looked,
    or the bundle does not know what its images look like."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """An image that was not read: as a Reading, in the same schema, without the two opinions."""

    bundle: str
    bundle_version: str
    bundle_sha256: str
    image: Facts
    eligibility: Eligibility

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self), "verdict": str(Verdict.WITHHELD), "teacher": None, "student": None}


@dataclass(frozen=True, slots=True)
class Reading:
    """Schema kdlight.reading/3."""

    bundle: str
    bundle_version: str
    bundle_sha256: str
    image: Facts
    eligibility: Eligibility
    teacher: Opinion
    student: Opinion
    must_not_miss: tuple[str, ...] = ()
    """The bundle's classes that must not be missed."""
    level: float = 0.9
    """Share of held-back images whose true class was in the prediction set."""
    sensitivity: dict[str, float] = field(default_factory=dict)
    """By class that has thresholds: the share of its images that they were chosen to find."""
    level_by_class: bool = False
    """Whether that share is promised within each class, not over all images together."""
    map_similarity: float | None = None
    """Pearson correlation of the two heat maps, -1 to 1; None without maps or where one is flat."""
    map_likeness: MapLikeness | None = None
    """By the order of their places; None as above."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Stages: prepare, teacher_map and student_map where maps were made, total."""

    @property
    def opinions(self) -> tuple[Opinion, Opinion]:
        return self.teacher, self.student

    @property
    def agree(self) -> bool:
        """Whether both models answer the same class, decided or not."""
        return self.teacher.prediction == self.student.prediction

    @property
    def not_ruled_out(self) -> dict[str, tuple[Role, ...]]:
        """Classes that must not be missed, with the models that hold them possible though they answer another."""
        roles = {
            name: tuple(o.role for o in self.opinions if o.prediction != name and o.holds_possible(name))
            for name in self.must_not_miss
        }
        return {name: possible for name, possible in roles.items() if possible}

    @property
    def verdict(self) -> Verdict:
        if not self.eligibility.eligible:
            return Verdict.WITHHELD
        if not self.agree:
            return Verdict.DISAGREE
        if not all(opinion.decided for opinion in self.opinions):
            return Verdict.UNDECIDED
        return Verdict.CANNOT_RULE_OUT if self.not_ruled_out else Verdict.AGREE

    @property
    def times_smaller(self) -> float:
        return self.teacher.bytes / self.student.bytes

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; heat maps are given by their grade, not their pixels."""
        values = asdict(self)
        for opinion in self.opinions:
            heat = values[opinion.role]["heat_map"]
            values[opinion.role]["decided"] = opinion.decided
            if heat is not None:
                heat["shape"] = list(heat.pop("values").shape)
        return {
            "schema": SCHEMA,
            **values,
            "verdict": str(self.verdict),
            "not_ruled_out": {name: list(roles) for name, roles in self.not_ruled_out.items()},
            "agree": self.agree,
            "times_smaller": self.times_smaller,
        }
