"""Operating points: from which probability on a class that must not be missed is not ruled out, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kdlight.metrics.intervals import Interval, distinct, intervals, or_wilson
from kdlight.metrics.report import Measured
from kdlight.metrics.scores import Floats, Ints, ratio

AIMS = (0.8, 0.85, 0.9, 0.95, 0.98)
"""Sensitivities that a threshold is chosen for beside the one that a recipe asks for."""
SLACK = 1e-4
"""By which a threshold lies below the image that sets it: what the engine that ships may differ by from the one that
measured. Without it a model that says nearly the same of every image would call all of them or none."""
Bools = NDArray[np.bool_]


class OperatingPoint(Measured):
    """A class is not ruled out where its calibrated probability is at least `threshold`."""

    aim: Annotated[float, Field(gt=0, lt=1)]
    """The sensitivity that the threshold was chosen for, on the calibration images."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None
    """None where they are too few of the class for `aim`: nothing is promised then."""
    sensitivity: Interval | None = None
    """On test, as is the specificity: of the images of the class, the share at or above the threshold."""
    specificity: Interval | None = None
    """Of the images of other classes, the share below it."""


class OperatingPoints(Measured):
    """Of one class, both models on the same images."""

    aim: Annotated[float, Field(gt=0, lt=1)]
    """The sensitivity that holds where a person chooses no other."""
    n: Annotated[int, Field(ge=0)]
    """Calibration images of the class that the thresholds rest on; groups where images belong together."""
    teacher: Annotated[tuple[OperatingPoint, ...], Field(min_length=1, max_length=20)]
    student: Annotated[tuple[OperatingPoint, ...], Field(min_length=1, max_length=20)]

    def at(self, role: Literal["teacher", "student"], aim: float | None = None) -> OperatingPoint:
        """The point of a sensitivity, else of the next higher one that there is; without one the class's own."""
        points = sorted(self.teacher if role == "teacher" else self.student, key=lambda point: point.aim)
        wanted = (self.aim if aim is None else aim) - 1e-9
        return next((point for point in points if point.aim >= wanted), points[-1])


def needed(aim: float) -> int:
    """How many calibration images of a class a sensitivity can be promised from."""
    return math.ceil(aim / (1 - aim) - 1e-9)


def threshold_for(aim: float, scores: Floats, units: int | None = None) -> float | None:
    """The threshold that a new image of the class reaches with chance >= aim; None with fewer images than `needed`.

    scores (n,): the class's probability on calibration images that are of it. Class-conditional split conformal (Vovk,
    Machine Learning 2013): the floor((n + 1)(1 - aim))-th smallest, less SLACK. The chance is over validation parts as
    well as new images, so the sensitivity of one such threshold lies around it, and the more loosely the smaller n is.
    units: how many of the images are independent, where they come in groups.
    """
    if (len(scores) if units is None else units) < needed(aim):
        return None
    rank = math.floor((len(scores) + 1) * (1 - aim) + 1e-9)
    return max(0.0, float(np.sort(scores)[rank - 1]) - SLACK)


def rates(called: Bools, positive: Bools, groups: Any = None) -> tuple[Interval | None, Interval | None]:
    """Sensitivity and specificity of calling images (N,) of which some are `positive` (N,); None without such images.

    Where all draws of the bootstrap agree the interval is Wilson's.
    """

    def shares(weights: Floats) -> Floats:
        sides = [(called & positive, positive), (~called & ~positive, ~positive)]
        return np.stack([ratio(weights @ right.astype(float), weights @ of.astype(float)) for right, of in sides], 1)

    sensitivity, specificity = intervals(shares, positive.astype(np.int64), groups)
    return or_wilson(sensitivity, distinct(groups, positive)), or_wilson(specificity, distinct(groups, ~positive))


def chosen_points(
    aim: float, probabilities: Mapping[Any, Floats], labels: Ints, column: int, groups: Any = None
) -> OperatingPoints:
    """Thresholds of both models for `aim` and AIMS; probabilities (N, K) by model and labels (N,) of validation."""
    of_it = labels == column
    units = distinct(groups, of_it)
    points = {
        role: tuple(
            OperatingPoint(aim=one, threshold=threshold_for(one, p[of_it, column], units))
            for one in sorted({*AIMS, aim})
        )
        for role, p in probabilities.items()
    }
    return OperatingPoints(aim=aim, n=units, **points)


def measured_points(
    points: OperatingPoints, probabilities: Mapping[Any, Floats], labels: Ints, column: int, groups: Any = None
) -> OperatingPoints:
    """The same thresholds with what they give on other images; arguments as of `chosen_points`."""

    def measured(point: OperatingPoint, scores: Floats) -> OperatingPoint:
        if point.threshold is None:
            return point
        sensitivity, specificity = rates(scores >= point.threshold, labels == column, groups)
        return point.model_copy(update={"sensitivity": sensitivity, "specificity": specificity})

    asked = {role: p[:, column] for role, p in probabilities.items()}
    both = {role: tuple(measured(one, scores) for one in getattr(points, role)) for role, scores in asked.items()}
    return points.model_copy(update=both)
