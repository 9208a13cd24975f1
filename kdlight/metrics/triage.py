"""Who answers: the student alone where it is sure, the teacher where it is not, a person where both are not.

The student answers alone where its probability is at least a threshold; else the teacher is asked, and the two answer
where they agree and the teacher's probability is at least the same threshold; the rest is a person's. The threshold is
the lowest at which the share of wrong answers, among those given without a person, is proven to be at most a risk that
the person sets: learn then test (Angelopoulos et al. 2021, https://arxiv.org/abs/2110.01052) in a fixed order, from
the strictest threshold on until the exact binomial test first fails, so that with chance 0.95 over the calibration
images the chosen one keeps the risk. Thresholds at which so few images are answered that no test could pass are stepped
over, which is exact where answers with a higher probability are not more often wrong. One image of each group is
taken: the test needs independent ones.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdlight.metrics.intervals import Interval, distinct, intervals, or_wilson
from kdlight.metrics.report import IF_KNOWN, Measured
from kdlight.metrics.scores import Floats, Ints, MetricError, ratio

Fault = Literal["wrong", "missed"]
"""An answer that is not the truth, or one of those whose truth must not be missed."""
GRID = tuple(round(1 - q, 4) for q in np.geomspace(0.001, 0.5, 40).tolist())
"""Thresholds that are tried, the strictest first. Fixed: the images that test them must not have chosen them."""
DELTA = 0.05


class Tally(Measured):
    """What a threshold would have done to the calibration images."""

    threshold: float
    student: int
    """Answered by the student alone."""
    teacher: int
    """Answered by both."""
    wrong: int
    """Of the answered ones."""
    missed: int


class Tallies(Measured):
    """Of one set of calibration images; a threshold for any risk follows from them."""

    n: int
    """Images, one of each group."""
    tallies: tuple[Tally, ...]

    def threshold(self, risk: float, fault: Fault = "wrong") -> float | None:
        """The lowest that keeps a risk, 0 to 1; None where none is proven to. Raises MetricError for another risk."""
        if not 0 < risk < 1:
            raise MetricError(f"The risk is {risk:g}; a share above 0 and below 1 was expected, such as 0.05.")
        from scipy.stats import binom  # type: ignore[import-untyped, unused-ignore]

        chosen, least = None, least_answered(risk)
        for tally in self.tallies:
            n = tally.student + tally.teacher
            if n < least:
                continue
            if binom.cdf(getattr(tally, fault), n, risk) > DELTA:
                break
            chosen = tally.threshold
        return chosen


def least_answered(risk: float) -> int:
    """How many images must be answered, all of them rightly, to prove a risk: (1 - risk)^n <= 0.05."""
    return math.ceil(math.log(DELTA) / math.log1p(-risk))


class Triage(Measured):
    """A threshold at work on images that had no part in it."""

    risk: float
    fault: Fault
    threshold: float | None
    """None where the calibration images prove no threshold: every image is then a person's."""
    calibrated: int
    """Calibration images."""
    least: int
    """Answered images, none of them wrong, that would have been needed."""
    n: int
    student: Interval | None
    """Share of images that the student answers alone."""
    called: Interval | None
    """Share of images for which the teacher is asked."""
    person: Interval | None
    """Share of images that are a person's."""
    wrong: Interval | None
    """Share of wrong answers among those given without a person; None without such."""
    missed: Interval | None
    """Share of answers that miss a class that must not be missed."""
    wrong_alone: Interval | None
    """As `wrong`, of the student alone."""
    ms: Annotated[float | None, IF_KNOWN] = None
    """Mean milliseconds of an image, by the latency on the card."""
    ms_both: Annotated[float | None, IF_KNOWN] = None
    """Where both models are asked about every image."""


Bools = NDArray[np.bool_]


def sorted_out(student: Any, teacher: Any, threshold: float) -> tuple[Bools, Bools]:
    """(N,) whether the student answers alone, and whether both do; probabilities (N, K)."""
    small, big = np.asarray(student), np.asarray(teacher)
    alone: Bools = small.max(axis=1) >= threshold
    both: Bools = ~alone & (big.max(axis=1) >= threshold) & (small.argmax(axis=1) == big.argmax(axis=1))
    return alone, both


def tallies(student: Any, teacher: Any, labels: Ints, urgent: Any, groups: Any = None) -> Tallies:
    """Of calibration images: probabilities (N, K), labels (N,); urgent (K,): which classes must not be missed."""
    if groups is not None:
        first = np.unique(np.asarray(groups), return_index=True)[1]
        student, teacher, labels = np.asarray(student)[first], np.asarray(teacher)[first], labels[first]
    wrong = np.asarray(student).argmax(axis=1) != labels
    missed = wrong & np.asarray(urgent, dtype=bool)[labels]
    found = []
    for threshold in GRID:
        alone, both = sorted_out(student, teacher, threshold)
        counts = {"student": alone, "teacher": both, "wrong": wrong & (alone | both), "missed": missed & (alone | both)}
        found.append(Tally(threshold=threshold, **{name: int(of.sum()) for name, of in counts.items()}))
    return Tallies(n=len(labels), tallies=tuple(found))


def triage(
    fitted: Tallies,
    risk: float,
    fault: Fault,
    probabilities: tuple[Any, Any],
    labels: Ints,
    urgent: Any,
    groups: Any = None,
    ms: tuple[float, float] | None = None,
) -> Triage:
    """What becomes of other images; probabilities (N, K) and milliseconds of an image: of the student, the teacher."""
    threshold = fitted.threshold(risk, fault)
    alone, both = sorted_out(*probabilities, 2.0 if threshold is None else threshold)
    wrong = np.asarray(probabilities[0]).argmax(axis=1) != labels
    columns = {
        "student": (alone, np.ones_like(alone)),
        "called": (~alone & (threshold is not None), np.ones_like(alone)),
        "person": (~alone & ~both, np.ones_like(alone)),
        "wrong": (wrong, alone | both),
        "missed": (wrong & np.asarray(urgent, dtype=bool)[labels], alone | both),
        "wrong_alone": (wrong, alone),
    }
    shares = _shares(columns, groups)
    called = float((~alone).mean())
    times = {} if ms is None or threshold is None else {"ms": ms[0] + called * ms[1], "ms_both": sum(ms)}
    told = {"risk": risk, "fault": fault, "threshold": threshold, "calibrated": fitted.n, "n": len(labels)}
    return Triage.model_validate({**told, "least": least_answered(risk), **shares, **times})


def _shares(columns: dict[str, tuple[Bools, Bools]], groups: Any) -> dict[str, Interval | None]:
    """Of each (part, whole) of images the share with its interval, over groups."""
    part = np.stack([(a & b).astype(np.float64) for a, b in columns.values()], axis=1)  # (N, M)
    whole = np.stack([b.astype(np.float64) for _, b in columns.values()], axis=1)

    def values(weights: Floats) -> Floats:
        return ratio(weights @ part, weights @ whole)

    found = intervals(values, np.zeros(len(part), dtype=np.int64), groups)
    units = (distinct(groups, b) for _, b in columns.values())
    return {name: or_wilson(share, n) for name, share, n in zip(columns, found, units, strict=True)}
