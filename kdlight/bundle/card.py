"""The card: what a bundle says of itself (schema kdlight.card/2, which reads /1), as typed and frozen models."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, PlainSerializer, model_validator

from kdlight.bundle.fitted import MOST_CLASSES, Calibration, Conformal
from kdlight.bundle.looks import Belonging
from kdlight.bundle.maps import MapFigures
from kdlight.bundle.part import Count, Line, Name, Part, Value
from kdlight.bundle.speed import Speed
from kdlight.bundle.study_record import StudyRecord
from kdlight.contracts import anatomy, modality, origin
from kdlight.contracts.map_grade import MapLimits
from kdlight.contracts.origin import Origin
from kdlight.contracts.reading import ROLES, Role
from kdlight.contracts.recipe import NAME
from kdlight.metrics import Measurement, Report
from kdlight.metrics.coverage import SetCoverage
from kdlight.metrics.ledger import Ledger
from kdlight.metrics.look_alike import LookAlike
from kdlight.metrics.operating import OperatingPoints
from kdlight.metrics.report import IF_KNOWN
from kdlight.metrics.robustness import CorruptionCost
from kdlight.metrics.shortcuts import Shortcuts
from kdlight.metrics.subgroups import Subgroups
from kdlight.metrics.triage import Tallies
from kdlight.metrics.twins import TwinScores
from kdlight.preprocessing import InputSpec

SCHEMA = "kdlight.card/2"
FIRST_SCHEMA = "kdlight.card/1"
Modality = Annotated[str, AfterValidator(lambda name: modality.modality(name).name)]
BodyPart = Annotated[str, AfterValidator(lambda name: anatomy.body_part(name).name)]
View = Literal[anatomy.VIEWS]  # type: ignore[valid-type]


class ClassDescription(Part):
    name: Name
    words: Name
    """The name for people."""
    must_not_miss: bool = False


class Licenses(Part):
    weights: Line
    """Of the trained weights."""
    weights_note: str = ""
    """Why it is that one."""
    data: str = ""
    """Of the images that they were trained on."""


class Network(Part):
    """One of the two models."""

    architecture: str = Field(max_length=300, pattern=r"^(ensemble:)?(timm:)?[\w.@-]+(\+(timm:)?[\w.@-]+)*$")
    parameters: Count
    macs: Count
    """Multiply-adds of one image at the input size."""
    bytes: Count
    """Of its weights on disk, float16."""
    start: str | None = None
    """Of the teacher: where its first weights came from, in words. Of the student: the recipe's student.init."""
    start_kind: origin.Kind | None = None
    """Of the teacher, see `kdlight.contracts.origin`."""
    start_license: Line | None = None
    """Of the teacher's first weights, where their file says it."""
    onnx_bytes: Count | None = None
    """Of the student's ONNX file."""


class Distillation(Part):
    method: Name
    paper: Line | None = None
    options: dict[Name, Value] = Field(default={}, max_length=100)
    init: Line | None = None
    """The student's first weights, as the recipe names them."""
    recipe: str = ""
    """The recipe as TOML, without folders of the machine that ran it."""


class LeftOut(Part):
    """Files of a set's folder that no image was made of."""

    reason: str
    """See `kdlight.data.dataset.Reason`."""
    count: Count


class DataDescription(Part):
    name: str
    source: str
    license: str = Field(validation_alias=AliasChoices("license", "licence"))
    counts: dict[Line, dict[Line, Count]] = Field(default={}, max_length=100)
    """Images by split and class."""
    groups: dict[Line, Count] = Field(default={}, max_length=100)
    """Groups by split."""
    group_key: str = ""
    """What is kept together in one split, in words."""
    left_out: tuple[LeftOut, ...] = ()
    split_seed: Count = 0


class Metrics(Part, Measurement):
    """Measured on the test split, except the latency; see `kdlight.metrics.Measurement`."""

    model_config = Part.model_config

    split: Line
    n: Count
    teacher: Report
    student: Report
    study: Annotated[StudyRecord | None, IF_KNOWN] = None
    latency: Annotated[Speed | None, IF_KNOWN] = None
    at_chance: Annotated[tuple[Role, ...] | None, IF_KNOWN] = None
    """Of teacher and student those that are no better than chance; None of a card from before that was kept."""
    coverage: Annotated[dict[Role, tuple[SetCoverage, ...]] | None, IF_KNOWN] = None
    """How often each kind of prediction sets holds the truth; None of a card from before that was measured."""
    subgroups: Annotated[Subgroups | None, IF_KNOWN] = None
    """By sex, age, scanner, source and skin tone, where the set names them; None of a card from before."""
    ledger: Annotated[Ledger | None, IF_KNOWN] = None
    """What the student lost and gained, by class and subgroup; None of a card from before that was kept."""
    twins: Annotated[TwinScores | None, IF_KNOWN] = None
    """Apart for test images with and without a near-twin in training; None of a card from before that was measured."""
    corruptions: Annotated[tuple[CorruptionCost, ...] | None, IF_KNOWN] = None
    """What noise, blur and the like cost on up to 300 of the test images; None of a card from before, too."""
    look_alike: Annotated[LookAlike | None, IF_KNOWN] = None
    """Whether both look at the same places on up to 300 of the test images; None of a card from before."""
    shortcuts: Annotated[Shortcuts | None, IF_KNOWN] = None
    """What rim, corners and markers do on up to 300 of the test images; None of a card from before that was probed."""

    def of(self, role: Role) -> Report:
        return self.teacher if role == "teacher" else self.student

    @property
    def counted_classes(self) -> set[str]:
        """Names of the classes that anything was counted by."""
        found = [set(one.classes) for of_role in (self.coverage or {}).values() for one in of_role]
        found += [set(step.classes) for step in (self.ledger.steps if self.ledger else ())]
        found += [set(part.teacher_found) for values in (self.subgroups or {}).values() for part in values.values()]
        return set[str]().union(*found)

    def balanced_accuracy(self, role: Role) -> float:
        """0 to 1; NaN where it is undefined."""
        score = self.of(role).balanced_accuracy
        return score.value if score else math.nan


class Coverage(Part):
    """What a file must be to be read without a person's word for it; empty where nothing is known."""

    modalities: tuple[Modality, ...] = ()
    min_side: int = Field(default=0, ge=0, le=10_000)
    """Pixels."""
    color: bool | None = None
    """None where both are read."""
    body_parts: tuple[BodyPart, ...] = ()
    """Keys of `kdlight.contracts.anatomy.BODY_PARTS`."""
    views: tuple[View, ...] = ()
    """Values of `kdlight.contracts.anatomy.VIEWS`."""


def _input(value: Any) -> Any:
    return InputSpec.from_json(value) if isinstance(value, dict) else value


class Card(Part):
    """Numbers are as measured by the command that made the bundle."""

    id: str = Field(pattern=f"^{NAME.pattern}$")
    name: Name
    version: Name
    created: Line
    """ISO date, UTC."""
    licenses: Licenses
    modality: Modality
    classes: tuple[ClassDescription, ...] = Field(min_length=2, max_length=MOST_CLASSES)
    """In the order of the logits."""
    input: Annotated[InputSpec, BeforeValidator(_input), PlainSerializer(InputSpec.to_json)]
    teacher: Network
    student: Network
    distillation: Distillation
    data: DataDescription
    metrics: Metrics
    calibration: Calibration
    conformal: Conformal
    operating: Annotated[dict[Name, OperatingPoints] | None, IF_KNOWN] = None
    """By class that must not be missed; None of a card from before thresholds were chosen."""
    triage: Annotated[Tallies | None, IF_KNOWN] = None
    """What thresholds of triage would do to the calibration images; None of a card from before that was kept."""
    eligibility: Coverage
    belonging: Annotated[Belonging | None, IF_KNOWN] = None
    """How images are found that are not like the bundle's; None of a card from before that was learned."""
    maps: Annotated[tuple[MapFigures, ...] | None, IF_KNOWN] = None
    """What heat maps must reach, by method; None of a card from before that was learned."""
    intended_use: str
    limits: tuple[str, ...] = Field(max_length=100)
    versions: dict[Line, Line] = Field(max_length=100)

    @model_validator(mode="after")
    def _is_one_of_a_kind(self) -> Card:
        """Classes are told apart by name, and people tell them apart by words."""
        for what, values in (
            ("name", [entry.name for entry in self.classes]),
            ("text for people", [entry.words for entry in self.classes]),
        ):
            if double := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"two classes have the {what} {double[0]!r}; each was expected once")
        if odd := set(self.operating or ()) - set(self.must_not_miss):
            raise ValueError(f"the class {min(odd)!r} has a threshold and need not be found; only such were expected")
        if odd := self.metrics.counted_classes - {entry.name for entry in self.classes}:
            raise ValueError(f"the class {min(odd)!r} was counted and is none of the card's; only such were expected")
        for role in ROLES:
            if set(self.conformal.of(role).classes) not in (set(), {entry.name for entry in self.classes}):
                raise ValueError(f"the {role}'s prediction sets are of other classes than the card's")
            ece = self.metrics.of(role).ece
            if ece is not None and not 0 <= ece.value <= 1:
                raise ValueError(f"the {role}'s calibration error is {ece.value:g}; 0 to 1 was expected")
        return self

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, card: Any) -> Any:
        """A card of the first schema had both licenses in one sentence of a fixed form."""
        if not isinstance(card, dict) or "schema" not in card:
            return card
        values = dict(card)
        if (schema := values.pop("schema")) not in (SCHEMA, FIRST_SCHEMA):
            raise ValueError(f"schema {schema!r} was found, {SCHEMA} was expected")
        if schema == FIRST_SCHEMA and isinstance(values.get("licence"), str):
            weights, _, data = values.pop("licence").partition(" for the weights; the data they were trained on: ")
            name, _, note = weights.removesuffix(")").partition(" (")
            values["licenses"] = {"weights": name, "weights_note": note, "data": data}
        return values

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **super().to_json()}

    def network(self, role: Role) -> Network:
        return self.teacher if role == "teacher" else self.student

    def temperature(self, role: Role) -> float:
        return self.calibration.of(role).temperature

    def map_limits(self, method: str) -> MapLimits | None:
        """None where the card has none for the method."""
        return next((one.limits for one in self.maps or () if one.method == method), None)

    @property
    def times_smaller(self) -> float:
        return self.teacher.bytes / self.student.bytes

    def thresholds(self, role: Role, sensitivity: float | None = None) -> dict[str, float]:
        """By class that must not be missed, where there is one for this sensitivity; None is each class's own."""
        points = {name: of.at(role, sensitivity) for name, of in (self.operating or {}).items()}
        return {name: point.threshold for name, point in points.items() if point.threshold is not None}

    def sensitivities(self, sensitivity: float | None = None) -> dict[str, float]:
        """The sensitivity that each of `thresholds` was chosen for."""
        known = self.thresholds("teacher", sensitivity)
        return {name: of.at("teacher", sensitivity).aim for name, of in (self.operating or {}).items() if name in known}

    @property
    def level(self) -> float:
        """Share of held-back images whose true class is in the prediction set."""
        return 1 - self.conformal.alpha

    @property
    def must_not_miss(self) -> tuple[str, ...]:
        """Names of the classes that must not be missed."""
        return tuple(entry.name for entry in self.classes if entry.must_not_miss)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it reads without asking."""
        return self.eligibility.modalities or (self.modality,)

    @property
    def at_chance(self) -> tuple[Role, ...]:
        """The models that are no better than chance on the test images: a pair with one of them has failed.

        A card from before this was kept is judged by its figures; see `kdlight.metrics.Report.beats_chance`.
        """
        recorded = self.metrics.at_chance
        if recorded is None:
            return tuple(role for role in ROLES if self.metrics.of(role).beats_chance is False)
        return tuple(role for role in ROLES if role in recorded)

    @property
    def origin(self) -> Origin | None:
        """Where the teacher's starting weights came from; None where the card does not say."""
        return origin.of(self.teacher.to_json())
