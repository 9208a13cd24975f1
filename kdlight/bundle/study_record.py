"""The record of a study: study.json, its copy on a bundle's card, and a published record (schema kdlight.study/1).

Scores are balanced accuracies, 0 to 1. An older record lacks some of the fields; what it lacks is None or empty.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
from pydantic import Field, computed_field, model_validator

from kdlight.bundle.part import LenientPart, Value
from kdlight.contracts import origin
from kdlight.metrics import Interval
from kdlight.metrics.report import IF_KNOWN
from kdlight.metrics.trainings import TrainingTest, over_trainings

SCHEMA = "kdlight.study/1"
NO_INTERVAL = "not told from 0 (too few images for an interval)"
UNTAUGHT = "alone"
"""The method without a teacher; with the first weights of another study it is that study's baseline."""
SAME_WEIGHTS = ("random", "selection", "published")
"""student.init with which the student alone starts as the taught one does."""

Model = Literal["teacher", "student", "alone", "scratch", "same_start", "partner", "ensemble"]
MODELS: tuple[Model, ...] = get_args(Model)
Share = Annotated[float, Field(ge=0, le=1)]
Known = Annotated[Share | None, IF_KNOWN]
Gain = Annotated[Interval | None, IF_KNOWN]


GAINS: dict[str, tuple[Model, Model]] = {
    "gain_over_alone": ("student", "alone"),
    "gap_to_teacher": ("student", "teacher"),
    "gain_over_scratch": ("student", "scratch"),
    "gain_over_same_start": ("student", "same_start"),
    "gain_of_partner": ("partner", "alone"),
    "gain_of_ensemble": ("ensemble", "alone"),
}
"""Whose score less whose, for each gain of a record."""


def in_words(gain: Interval | None) -> str:
    """A difference of 0 to 1 in points with its interval, and on which side of 0 it lies."""
    if gain is None or gain.low is None or gain.high is None:
        return NO_INTERVAL
    side = "gain" if gain.above_zero else "loss" if gain.below_zero else "not told from 0:"
    return f"{side} {gain.points:+.1f}"


class Scores(LenientPart):
    """Balanced accuracy by model; only some studies have the last four."""

    teacher: Share
    student: Share
    """Taught by the teacher."""
    alone: Share
    """The same student without a teacher."""
    scratch: Known = None
    """The same from random weights."""
    same_start: Known = None
    """The same from the starting weights of the taught one."""
    partner: Known = None
    """The second model of a pair that learned together; the bundle ships the first."""
    ensemble: Known = None
    """The mean of the pair's calibrated probabilities."""

    @property
    def by_model(self) -> dict[Model, float]:
        scores = {model: getattr(self, model) for model in MODELS}
        return {model: score for model, score in scores.items() if score is not None}


class SeedScores(Scores):
    seed: int


class StudyData(LenientPart):
    name: str | None = None
    """Of the labeled set."""
    title: str | None = None
    modality: str | None = None
    size: int | None = None
    """Side of the input in pixels."""
    classes: tuple[str, ...] | None = None
    images: dict[str, int] | None = None
    """By split."""


class StudyNetwork(LenientPart):
    """As `kdlight.bundle.card.Network`, of which an older record lacks most."""

    architecture: str | None = None
    parameters: int | None = None
    macs: int | None = None
    bytes: int | None = None
    start: str | None = None
    start_kind: str | None = None
    start_license: str | None = None
    onnx_bytes: int | None = None


class StudyModels(LenientPart):
    teacher: StudyNetwork = StudyNetwork()
    student: StudyNetwork = StudyNetwork()

    @property
    def teacher_start(self) -> origin.Origin | None:
        return origin.of(self.teacher.to_json())


class StudyMethod(LenientPart):
    name: str | None = None
    paper: str | None = None
    options: dict[str, Value] = Field(default={})


class StudyLatency(LenientPart):
    """Medians of one image on one machine, in milliseconds."""

    teacher: float
    student: float
    of: tuple[str, str]
    """The engines of both, as the benchmark names them."""
    size: int
    threads: int
    runs: int
    cpu: str
    cores: int


class McNemar(NamedTuple):
    """The exact test of taught against alone."""

    p: float
    pooled: bool
    """Over all seeds, whose images are the same; False where it is of the first seed alone."""


class StudyRecord(LenientPart):
    """One teacher, and over several seeds its student taught and the same student without a teacher.

    Gains are the student's score less the other's, 0 to 1, with a bootstrap interval over test groups, where an image
    that several seeds answered is drawn with all of them; without bounds where the two were not paired. It holds chance
    in the test images alone: `over` and `test_over` add that in the training.
    """

    schema_: str = Field(alias="schema", pattern=r"^kdlight\.study/")
    recipe: str
    """A shipped recipe's name, or the set's."""
    metric: str = "balanced_accuracy"
    teachers: int = 1
    """How many were trained."""
    folds: Annotated[int | None, IF_KNOWN] = None
    """Of a cross-validation, whose `seeds` are its folds; None where every seed tested the same images."""
    seeds: tuple[SeedScores, ...] = Field(min_length=1)
    gain_over_alone: Interval | None
    gap_to_teacher: Gain = None
    gain_over_scratch: Gain = None
    gain_over_same_start: Gain = None
    gain_of_partner: Gain = None
    """Of the pair's second model over the student alone."""
    gain_of_ensemble: Gain = None
    """Of the pair's mean over the student alone."""
    mcnemar_p: Known = None
    """Exact McNemar test of taught against alone over the first seed's images."""
    mcnemar_pooled_p: Known = None
    """The same over the answers of all seeds as if each were of an image of its own, which makes it too small."""
    data: StudyData = StudyData()
    models: StudyModels = StudyModels()
    method: StudyMethod = StudyMethod()
    epochs: dict[str, int] = Field(default={})
    """Those asked for, by model."""
    minutes: dict[str, float | None] = Field(default={})
    """Of training by model, the mean over seeds."""
    settings: dict[str, dict[str, Value]] = Field(default={})
    """The recipe's sections by key, without paths."""
    latency: Annotated[StudyLatency | None, IF_KNOWN] = None
    adjusted_p: float | None = Field(default=None, exclude=True)
    """Of the gain over the same start, adjusted for all that it is shown among; not stored."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, record: Any) -> Any:
        """An older record has null for a part that it does not know."""
        if not isinstance(record, dict):
            return record
        return {key: value for key, value in record.items() if value is not None or key == "gain_over_alone"}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def mean(self) -> Scores:
        """Over the seeds, of the models that all of them have."""
        return Scores(**{model: float(np.mean(scores)) for model, scores in self._by_model.items()})

    @computed_field  # type: ignore[prop-decorator]
    @property
    def deviation(self) -> dict[str, float | None]:
        """Standard deviation over the seeds by model; None for one seed."""
        several = len(self.seeds) > 1
        return {m: float(np.std(scores, ddof=1)) if several else None for m, scores in self._by_model.items()}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def retained(self) -> float | None:
        """The student's mean over its teacher's."""
        return self.mean.student / self.mean.teacher if self.mean.teacher else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def gain(self) -> str:
        """The gain over the student alone, in words."""
        return in_words(self.over("alone"))

    def test_over(self, other: Model, model: Model = "student") -> TrainingTest | None:
        """A model's score less another's over the seeds' trainings; None for one seed or without paired answers."""
        rows = [(row.by_model.get(model), row.by_model.get(other)) for row in self.seeds]
        by_seed = [one - two for one, two in rows if one is not None and two is not None]
        if len(by_seed) < len(rows):
            return None
        images = None if self.folds else (self.data.images or {}).get("test")
        return over_trainings(self._on_images(other, model), by_seed, images)

    def over(self, other: Model, model: Model = "student") -> Interval | None:
        """The same with its interval, for one seed with chance in the images alone; None where none was recorded."""
        test = self.test_over(other, model)
        return self._on_images(other, model) if test is None else test.interval

    def _on_images(self, other: Model, model: Model) -> Interval | None:
        name = next((name for name, pair in GAINS.items() if pair == (model, other)), None)
        gain: Interval | None = None if name is None else getattr(self, name)
        return gain

    @property
    def _by_model(self) -> dict[Model, list[float]]:
        rows = [row.by_model for row in self.seeds]
        return {model: [row[model] for row in rows] for model in rows[0] if all(model in row for row in rows)}

    @property
    def mcnemar(self) -> McNemar | None:
        """Over all seeds; of an older record over the first one's images. None where it was not recorded."""
        if self.mcnemar_pooled_p is not None:
            return McNemar(self.mcnemar_pooled_p, len(self.seeds) > 1)
        return None if self.mcnemar_p is None else McNemar(self.mcnemar_p, False)

    @property
    def tested(self) -> int | None:
        """Test images; of a cross-validation those of all folds, which are all images. None where not recorded."""
        images = self.data.images or {}
        return sum(images.values()) or None if self.folds else images.get("test")

    @property
    def runs(self) -> str:
        """How many trainings it rests on, in words."""
        count = len(self.seeds)
        return f"{count} folds" if self.folds else f"{count} seeds" if count > 1 else "one seed"

    @property
    def set_name(self) -> str:
        """The labeled set's short id."""
        return self.data.name or self.recipe

    @property
    def init(self) -> str | None:
        """student.init of the taught student."""
        return self.models.student.start

    @property
    def taught(self) -> bool:
        return self.method.name != UNTAUGHT

    @property
    def over_same_start(self) -> Interval | None:
        """The gain over the same student from the same starting weights without its teacher; None if not compared.

        Where the student alone starts from the same weights, it is that baseline.
        """
        if not self.taught:
            return None
        return self._on_images(self.baseline, "student") if self.taught else None

    @property
    def baseline(self) -> Model:
        """The student without its teacher that starts as the taught one does."""
        return "alone" if self.init in SAME_WEIGHTS else "same_start"
