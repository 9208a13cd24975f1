"""What an answer is worth where a disease is as frequent as a person says: predictive values at a prevalence.

PPV = sens pi / (sens pi + (1 - spec) (1 - pi)) and NPV = spec (1 - pi) / (spec (1 - pi) + (1 - sens) pi): Bayes' rule,
with the prevalence pi of the place instead of the test set's. Their intervals come from those of sensitivity and
specificity, which are of different images and so independent, by MOVER for a ratio (Donner & Zou, Statistical Methods
in Medical Research 21, 2012), so they hold groups of images as those do.
"""

from __future__ import annotations

import math
from typing import Annotated

from kdlight.metrics.intervals import Interval
from kdlight.metrics.report import IF_KNOWN, Measured, Report
from kdlight.metrics.scores import MetricError


class Facts(Measured):
    """One model and one class, at the model's plain answer; None where the test had no image for it."""

    positives: int | None
    """Test images of the class; None of a card that does not say."""
    negatives: int | None
    """Test images of other classes."""
    sensitivity: Interval | None
    """Of the images of the class, the share that is answered as it."""
    specificity: Interval | None
    """Of the others, the share that is not."""
    prevalence: Annotated[float | None, IF_KNOWN] = None
    """Share of people with the class where the answer is read, as a person stated it."""
    ppv: Annotated[Interval | None, IF_KNOWN] = None
    """Of those answered as the class, the share that has it."""
    npv: Annotated[Interval | None, IF_KNOWN] = None
    """Of those not answered as it, the share that has it not."""


def facts(report: Report, name: str, prevalence: float | None = None) -> Facts:
    """Of a class of a report. prevalence: above 0 and below 1; without one there are no predictive values.

    Raises MetricError for another prevalence.
    """
    if prevalence is not None and not 0 < prevalence < 1:
        raise MetricError(f"The prevalence is {prevalence:g}; a share above 0 and below 1 was expected, such as 0.02.")
    sensitivity, specificity = report.recall.get(name), report.specificity.get(name)
    odds = None if prevalence is None else prevalence / (1 - prevalence)
    n = report.counts.get(name)
    return Facts(
        positives=n,
        negatives=None if n is None else report.n - n,
        sensitivity=sensitivity,
        specificity=specificity,
        prevalence=prevalence,
        ppv=None if odds is None else _predictive(specificity, sensitivity, 1 / odds),
        npv=None if odds is None else _predictive(sensitivity, specificity, odds),
    )


def _predictive(failing: Interval | None, right: Interval | None, odds: float) -> Interval | None:
    """1 / (1 + odds (1 - failing) / right), which is PPV of specificity and sensitivity, and NPV of the two swapped."""
    if failing is None or right is None or (failing.value == 1 and right.value == 0):
        return None
    value = 1 / (1 + odds * _over(1 - failing.value, right.value))
    if failing.low is None or failing.high is None or right.low is None or right.high is None:
        return Interval(value)
    wrong = (1 - failing.value, 1 - failing.high, 1 - failing.low)
    low, high = _mover(wrong, (right.value, right.low, right.high))
    return Interval(value, 1 / (1 + odds * high), 1 / (1 + odds * low))


def _over(a: float, b: float) -> float:
    return a / b if b else math.inf


def _mover(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float]:
    """The interval of a / b, both 0 or more and independent, each as (value, low, high)."""
    (up, up_low, up_high), (down, down_low, down_high) = a, b
    steep, flat = down_high * (2 * down - down_high), down_low * (2 * down - down_low)
    below = math.sqrt(max(0.0, (up * down) ** 2 - up_low * (2 * up - up_low) * steep))
    above = math.sqrt(max(0.0, (up * down) ** 2 - up_high * (2 * up - up_high) * flat))
    low = (up * down - below) / steep if steep else 0.0
    return max(0.0, low), _over(up * down + above, flat) if flat > 0 else math.inf
