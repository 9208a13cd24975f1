"""Acceptance on a person's own cases: each line of their bar is passed, failed, or has too few cases to tell.

Lines rest on independent cases: of each group (patient) the one whose file has the smallest hash, which nobody chose.
A case that the bundle withholds is neither right nor wrong: nobody was told a class, and a person reads it. It is not
dropped either: it counts against the line `answered`, and each line says how many of its kind were withheld.
A line passes at the bar's confidence; a pair is accepted where all lines pass, which needs no correction for their
number (the intersection-union test: Berger, Technometrics 24, 1982). One that fails does so at that confidence over all
lines together (Bonferroni), so a pair that clears every line is rejected with the chance of one error at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from kdlight.bundle import Card
from kdlight.bundle.part import Count, Name, Part
from kdlight.contracts.bar import ALL, Bar, BarError
from kdlight.contracts.reading import Role
from kdlight.metrics.acceptance import Change, Counts, Outcome, Rate, more_cases, outcome

Criterion = Literal["sensitivity", "specificity", "coverage", "calibration", "answered", "difference"]
Digest = str
Sha256 = Field(pattern="^[0-9a-f]{64}$")
SENSITIVITY, SPECIFICITY, ANSWERED, CALIBRATION, LOST = 0.9, 0.8, 0.9, 0.1, 0.05
"""What a bar asks for where a person names no other; ours."""
COVERAGE_SLACK = 0.05
"""By which it asks for less coverage than sets promise: a promise that is just kept can never be proven."""


class Answered(Part):
    """What one model said of a case."""

    answer: Name
    probability: float = Field(ge=0, le=1)
    """Of the answer, calibrated."""
    possible: tuple[Name, ...]
    """The classes that it answers or does not rule out."""
    covered: bool
    """Its prediction set holds the truth."""


class Case(Part):
    """One labeled image and what came of it; no name of a file or a patient."""

    sha256: str = Sha256
    """Of its file."""
    frame: Count = 0
    unit: Count
    """Its group (patient), by number: cases of one unit are not independent."""
    truth: Name
    teacher: Answered | None = None
    """None where the bundle withheld the case, as of `student`."""
    student: Answered | None = None

    @property
    def key(self) -> str:
        """What tells it from every other case."""
        return f"{self.sha256}#{self.frame}" if self.frame else self.sha256

    def of(self, role: Role) -> Answered | None:
        return self.teacher if role == "teacher" else self.student


class Line(Part):
    """One line of a bar, and what the cases say of it."""

    criterion: Criterion
    of: Name | None
    """A class; None for all cases."""
    model: Role | None
    """None where it is about the pair."""
    bar: float
    n: Count
    """Independent cases that it rests on."""
    withheld: Count
    """Cases of its kind that the bundle withheld."""
    value: float | None
    """None without a case."""
    low: float
    """Exact one-sided bounds, those that decided."""
    high: float
    outcome: Outcome
    more: Count | None = None
    """Of too few cases: how many more would decide with a chance of 80 %, if they go as those so far; None if no number
    would do."""


class Asked(NamedTuple):
    """A line before the cases are looked at."""

    criterion: Criterion
    of: str | None
    model: Role | None
    bar: float

    @property
    def target(self) -> tuple[float, float]:
        """Where the figure is to lie."""
        if self.criterion == "calibration":
            return -self.bar, self.bar
        return (-self.bar if self.criterion == "difference" else self.bar), 1.0


def default_bar(card: Card) -> Bar:
    """For the classes that must not be missed, else for all: sensitivity and specificity; and the rest over all."""
    names = card.must_not_miss or tuple(entry.name for entry in card.classes)
    return Bar(
        sensitivity=dict.fromkeys(names, SENSITIVITY),
        specificity=dict.fromkeys(names, SPECIFICITY),
        coverage={ALL: round(card.level - COVERAGE_SLACK, 4)},
        answered={ALL: ANSWERED},
        difference={ALL: LOST},
        calibration=CALIBRATION,
    )


def asked(bar: Bar, card: Card) -> list[Asked]:
    """The lines of a bar, what must not be missed first. Raises BarError where it has none, or of another class."""
    classes = [entry.name for entry in card.classes]
    classes.sort(key=lambda name: name not in card.must_not_miss)
    found: list[Asked] = []
    for role in bar.roles:
        found += _lines("sensitivity", bar.sensitivity, role, classes)
        found += _lines("specificity", bar.specificity, role, classes)
        found += _lines("coverage", bar.coverage, role, classes)
        found += [] if bar.calibration is None else [Asked("calibration", None, role, bar.calibration)]
    found += _lines("answered", bar.answered, None, classes)
    found += _lines("difference", bar.difference, None, classes)
    if not found:
        raise BarError("names nothing to test; a line such as sensitivity.malignant = 0.9 was expected.", "The bar")
    return found


def _lines(criterion: Criterion, shares: dict[str, float], role: Role | None, classes: Sequence[str]) -> list[Asked]:
    if odd := [name for name in shares if name not in (*classes, ALL)]:
        raise BarError(
            f"is of a class that the bundle does not know; one of {', '.join(classes)} was expected. Rename it.",
            f"{criterion}.{odd[0]}",
        )
    return [
        Asked(criterion, None if name == ALL else name, role, shares[name])
        for name in (ALL, *classes)
        if name in shares
    ]


def held_against(cases: Sequence[Case], bar: Bar, card: Card) -> tuple[Line, ...]:
    """Every line of the bar. Raises BarError as `asked` does."""
    lines = asked(bar, card)
    tests = sum(2 if line.criterion == "calibration" else 1 for line in lines)
    return tuple(_tested(line, cases, bar, bar.error / tests) for line in lines)


def _tested(line: Asked, cases: Sequence[Case], bar: Bar, fail_error: float) -> Line:
    counts = counted(line, cases, bar)
    result, low, high = outcome(counts, line.target, bar.error, fail_error)
    more = more_cases(counts, line.target, bar.error, fail_error) if result == "too few" else None
    withheld = sum(case.student is None for case in cases if _concerns(line, case))
    figures = {"n": counts.n, "value": counts.value, "low": low, "high": high, "outcome": result, "more": more}
    return Line.model_validate({**line._asdict(), "withheld": withheld, **figures})


def counted(line: Asked, cases: Iterable[Case], bar: Bar) -> Counts:
    """What the independent cases say of a line."""
    kind = [case for case in cases if _concerns(line, case)]
    if line.criterion == "answered":
        return _rate(independent(kind), lambda case: case.student is not None)
    read = independent(case for case in kind if case.student is not None)
    if line.criterion == "difference":
        right = [[_right(case, role) for case in read] for role in ("teacher", "student")]
        teacher, student = (np.array(one, dtype=bool) for one in right)
        return Change(int((teacher & ~student).sum()), int((student & ~teacher).sum()), len(read))
    role: Role = line.model or "student"
    if line.criterion == "calibration":
        stated = [answer.probability for answer in _answers(read, role)]
        return Rate(sum(_right(case, role) for case in read), len(read), float(np.mean(stated)) if stated else 0.0)
    if line.criterion == "coverage":
        return Rate(sum(answer.covered for answer in _answers(read, role)), len(read))
    called = [_calls(answer, line.of, bar.rule) for answer in _answers(read, role)]
    return Rate(sum(one == (line.criterion == "sensitivity") for one in called), len(read))


def _rate(cases: Sequence[Case], right: Callable[[Case], bool]) -> Rate:
    return Rate(sum(map(right, cases)), len(cases))


def independent(cases: Iterable[Case]) -> list[Case]:
    """Of each unit the case with the smallest hash."""
    first: dict[int, Case] = {}
    for case in sorted(cases, key=lambda case: case.key):
        first.setdefault(case.unit, case)
    return list(first.values())


def _concerns(line: Asked, case: Case) -> bool:
    return line.of is None or (case.truth == line.of) == (line.criterion != "specificity")


def _answers(cases: Iterable[Case], role: Role) -> Iterator[Answered]:
    for case in cases:
        answer = case.of(role)
        assert answer is not None
        yield answer


def _right(case: Case, role: Role) -> bool:
    answer = case.of(role)
    return answer is not None and answer.answer == case.truth


def _calls(answer: Answered, name: str | None, rule: str) -> bool:
    return answer.answer == name or (rule == "possible" and name in answer.possible)
