"""What a card holds that was fitted after the training: temperatures, and the thresholds of prediction sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

from pydantic import Field

from kdlight.bundle.part import Count, Name, Part
from kdlight.contracts.reading import ROLES, Role
from kdlight.metrics.conformal import SetKind, least_units, score_of

Fit = TypeVar("Fit", bound=Part)
MOST_CLASSES = 1000


class Temperature(Part):
    temperature: float = Field(ge=0.05, le=100)


Score = Annotated[float, Field(ge=0, le=1)]


class ClassThreshold(Part):
    """Set by one class's calibration images alone; None where they are too few for the level: nothing is promised."""

    n: Count
    """Of the class, images or groups of images."""
    lac: Score | None = None
    aps: Score | None = None


class Threshold(Part):
    """See `kdlight.metrics.conformal`. An older card has `qhat` alone, set by the images that chose the best epoch."""

    qhat: Score
    """A class is in the marginal LAC set where 1 - its probability is at most this."""
    aps: Score | None = None
    """Of marginal APS sets."""
    n: Count | None = None
    """Calibration images or groups; None of an older card."""
    classes: dict[Name, ClassThreshold] = Field(default={}, max_length=MOST_CLASSES)


class Fitted(Part, Generic[Fit]):
    """What was fitted on validation for each model: the pair, and the baselines that were trained."""

    method: str = ""
    teacher: Fit
    student: Fit
    alone: Fit | None = None
    scratch: Fit | None = None
    same_start: Fit | None = None

    def of(self, role: Role) -> Fit:
        return self.teacher if role == "teacher" else self.student


class Calibration(Fitted[Temperature]):
    """How logits become probabilities."""


class Conformal(Fitted[Threshold]):
    """How probabilities become prediction sets."""

    alpha: float = Field(gt=0, lt=1)
    """Share of sets that may miss the truth."""

    @property
    def kind(self) -> SetKind:
        """Of the sets that a reading has: by class where there are such thresholds."""
        return "class_lac" if all(self.of(role).classes for role in ROLES) else "lac"

    def thresholds(self, role: Role, kind: SetKind, classes: Sequence[str]) -> dict[str, float] | None:
        """By class, in the order of `classes`; None where an older card lacks them.

        A class that its own images promise nothing for has the threshold of all, or 1: it is then in every set.
        """
        fitted, score = self.of(role), score_of(kind)
        whole = fitted.qhat if score == "lac" else fitted.aps
        if kind.startswith("class"):
            if not fitted.classes:
                return None
            own = {name: getattr(one, score) for name, one in fitted.classes.items()}
            rest = 1.0 if whole is None else whole
            return {name: rest if own[name] is None else own[name] for name in classes}
        if whole is None and fitted.n is None:
            return None
        return dict.fromkeys(classes, 1.0 if whole is None else whole)

    def calibrated(self, role: Role) -> dict[str | None, int | None]:
        """How many images or groups set the thresholds, by class and for all (None).

        0 where they are too few to promise anything, None where an older card does not say.
        """
        fitted, least = self.of(role), least_units(self.alpha)
        counts: dict[str | None, int | None] = {name: one.n for name, one in fitted.classes.items()}
        return {name: 0 if n is not None and n < least else n for name, n in {**counts, None: fitted.n}.items()}

    def unpromised(self, role: Role) -> tuple[str, ...]:
        """Names of the classes with too few calibration images for sets by class to promise anything of them."""
        return tuple(name for name, n in self.calibrated(role).items() if name is not None and n == 0)
