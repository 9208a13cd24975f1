"""The ledger of forgetting: every decision that changes from one model to the next, what is lost and what is gained.

A class's losses and gains are tested by McNemar's exact test (1947): of the images on which one of the two alone is
right, either is as likely under chance. Where images belong together their group counts once, on the side that most of
its changes lie. The p values of a table are adjusted by Holm (Scandinavian Journal of Statistics 6, 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from kdlight.metrics.paired import FlipCounts, flips
from kdlight.metrics.report import Measured
from kdlight.metrics.scores import Ints

BEYOND_CHANCE = 0.05


class Change(Measured):
    """Some images, and who answers them rightly before and after."""

    n: int
    counts: FlipCounts
    """`first_only` are lost, `second_only` are gained."""
    p: float
    """Two-sided, of the exact McNemar test over groups; 1 where nothing changes."""
    adjusted: float
    """The same, by Holm over the rows of its table."""
    alarm: bool = False
    """A class that must not be missed loses recall beyond chance: one-sided, by Holm over such classes."""

    @property
    def before(self) -> int:
        """Right ones."""
        return self.counts.both_right + self.counts.first_only

    @property
    def after(self) -> int:
        return self.counts.both_right + self.counts.second_only


class Step(Measured):
    """From one model to the next."""

    before: str
    after: str
    changed: int
    """Images with another answer, right or wrong."""
    all: Change
    classes: dict[str, Change]
    """By true class, those that have images."""
    columns: dict[str, dict[str, Change]]
    """By column of the manifest and its value."""

    @property
    def alarms(self) -> tuple[str, ...]:
        return tuple(name for name, change in self.classes.items() if change.alarm)


class Ledger(Measured):
    """What is lost and gained on the way from the teacher to what ships."""

    steps: tuple[Step, ...]

    @property
    def alarms(self) -> tuple[tuple[Step, str], ...]:
        return tuple((step, name) for step in self.steps for name in step.alarms)


def ledger(
    probabilities: Mapping[Any, np.ndarray],
    labels: Ints,
    classes: Sequence[str],
    must_not_miss: Sequence[str] = (),
    groups: Any = None,
    columns: Mapping[str, np.ndarray] | None = None,
) -> Ledger:
    """probabilities: (N, K) by model, in the order of the way; labels (N,), groups (N,) or None.

    columns: a value of each image (N,), "" where it is not known. Raises MetricError where arrays do not fit.
    """
    return Ledger(
        steps=tuple(
            _step((before, after), probabilities, labels, classes, must_not_miss, groups, columns or {})
            for before, after in pairwise(probabilities)
        )
    )


def _step(
    names: tuple[Any, Any],
    probabilities: Mapping[Any, np.ndarray],
    labels: Ints,
    classes: Sequence[str],
    must_not_miss: Sequence[str],
    groups: Any,
    columns: Mapping[str, np.ndarray],
) -> Step:
    first, second = (probabilities[name] for name in names)
    unit = np.arange(len(labels)) if groups is None else np.asarray(groups)

    def table(of: np.ndarray, values: Mapping[str, Any], urgent: Sequence[str] = ()) -> dict[str, Change]:
        rows = {name: of == value for name, value in values.items() if (of == value).any()}
        return _table({name: _tested(first[r], second[r], labels[r], unit[r]) for name, r in rows.items()}, urgent)

    return Step(
        before=str(names[0]),
        after=str(names[1]),
        changed=int((first.argmax(axis=1) != second.argmax(axis=1)).sum()),
        all=table(np.zeros(len(labels)), {"all": 0})["all"],
        classes=table(labels, {name: c for c, name in enumerate(classes)}, must_not_miss),
        columns={
            name: table(values, {value: value for value in np.unique(values).tolist() if value})
            for name, values in columns.items()
        },
    )


Tested = tuple[FlipCounts, int, int]
"""Who is right, and groups that lose and that gain more than they gain or lose."""


def _tested(first: np.ndarray, second: np.ndarray, labels: Ints, unit: np.ndarray) -> Tested:
    right = (second.argmax(axis=1) == labels).astype(int) - (first.argmax(axis=1) == labels).astype(int)
    _, index = np.unique(unit, return_inverse=True)
    net = np.bincount(index, weights=right)
    return flips(first, second, labels), int((net < 0).sum()), int((net > 0).sum())


def _table(tested: Mapping[str, Tested], urgent: Sequence[str]) -> dict[str, Change]:
    p = {name: _sign_test(lost, gained, "two-sided") for name, (_, lost, gained) in tested.items()}
    losing = {name: _sign_test(*tested[name][1:], "greater") for name in tested if name in urgent}
    adjusted, alarms = holm(p), holm(losing)
    return {
        name: Change(
            n=sum(getattr(counts, field) for field in FlipCounts.__dataclass_fields__),
            counts=counts,
            p=p[name],
            adjusted=adjusted[name],
            alarm=alarms.get(name, 1.0) < BEYOND_CHANCE,
        )
        for name, (counts, _, _) in tested.items()
    }


def _sign_test(lost: int, gained: int, alternative: str) -> float:
    from scipy.stats import binomtest  # type: ignore[import-untyped, unused-ignore]

    return float(binomtest(lost, lost + gained, 0.5, alternative).pvalue) if lost + gained else 1.0


def holm(ps: Mapping[str, float]) -> dict[str, float]:
    """p values so raised that with chance 0.95 none of those that end below 0.05 is false."""
    raised, highest = {}, 0.0
    for rank, (name, p) in enumerate(sorted(ps.items(), key=lambda pair: pair[1])):
        highest = max(highest, min(1.0, (len(ps) - rank) * p))
        raised[name] = highest
    return raised
