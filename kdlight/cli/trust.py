"""How the command line writes what says how far a pair may be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kdlight.cli.output import table
from kdlight.metrics.coverage import Held, SetCoverage
from kdlight.metrics.ledger import Change, Ledger, Step

if TYPE_CHECKING:
    from kdlight.inference.evaluate import Evaluation


def text(evaluation: Evaluation) -> Iterator[Any]:
    """What of it was asked for, under what it is."""
    if evaluation.ledger is not None:
        yield from _ledger(evaluation.ledger)
    for role, sets in (evaluation.coverage or {}).items():
        for of_kind in sets:
            yield from _coverage(role, of_kind)


def _ledger(ledger: Ledger) -> Iterator[Any]:
    for step, name in ledger.alarms:
        change = step.classes[name]
        yield (
            f"\nAlarm: {step.after} misses {name}, which must not be missed, more often than {step.before} beyond "
            f"chance: {change.before} of {change.n} were right, {change.after} are."
        )
    for step in ledger.steps:
        yield f"\n{step.before} to {step.after}: {step.changed} of {step.all.n} answers change."
        if step.changed:
            yield table(("", "n", "right before", "lost", "gained", "right after", "p (Holm)"), _rows(step))


def _rows(step: Step) -> Iterator[tuple[Any, ...]]:
    named = {**step.classes, "all": step.all}
    for column, values in step.columns.items():
        named |= {f"{column} {value}": change for value, change in values.items()}
    yield from ((name, *_counts(change)) for name, change in named.items())


def _counts(change: Change) -> tuple[Any, ...]:
    counts = change.counts
    return change.n, change.before, counts.first_only, counts.second_only, change.after, change.adjusted


def _coverage(role: str, sets: SetCoverage) -> Iterator[Any]:
    yield f"\nSets of the {role} ({sets.kind}), promised to hold the truth in {sets.level:.0%}:"
    size = "-" if sets.size is None else f"{sets.size:.2f}"
    rows = [("all", sets.all.n, sets.all.share, promise(sets.all), size)]
    rows += [(name, held.n, held.share, promise(held), "") for name, held in sets.classes.items()]
    yield table(("", "n", "held", "promise", "classes in a set"), rows)


def promise(held: Held) -> str:
    """What became of it, in a word."""
    if not held.promised:
        return "none"
    return "not known" if held.p is None else "broken" if held.broken else "kept"
