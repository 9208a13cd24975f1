"""How the command line writes what says how far a pair may be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdlight.cli.output import Answer, UsageError, counted, table
from kdlight.contracts.reading import Reading, Role, Withheld
from kdlight.metrics.coverage import Held, SetCoverage
from kdlight.metrics.ledger import Change, Ledger, Step
from kdlight.metrics.look_alike import LookAlike
from kdlight.metrics.predictive import Facts, facts
from kdlight.metrics.shortcuts import PROBES, Shortcuts
from kdlight.metrics.subgroups import Subgroups
from kdlight.metrics.triage import Triage
from kdlight.reports.drift import sentences

if TYPE_CHECKING:
    from kdlight.bundle import Bundle
    from kdlight.inference.evaluate import Evaluation


Prevalence = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CLASS=SHARE",
        help="Share of people with the class where it is used, for PPV and NPV; repeatable.",
    ),
]


LedgerOf = Annotated[
    bool, typer.Option("--ledger", help="What the student lost and gained, by class and column, and by each file.")
]
CoverageOf = Annotated[bool, typer.Option("--coverage", help="How often the prediction sets hold the truth, by class.")]
EligibilityOf = Annotated[
    bool, typer.Option("--eligibility", help="How many images are withheld: the set's own, and planted ones.")
]
ShortcutsOf = Annotated[
    bool, typer.Option("--shortcuts", help="What both models answer by the rim, the center, corners and a marker.")
]
LookAlikeOf = Annotated[bool, typer.Option("--look-alike", help="Whether both models look at the same places.")]
Risk = Annotated[
    float | None,
    typer.Option("--triage", metavar="RISK", help="Who answers, at most this share at fault without a person."),
]


class Fault(StrEnum):
    """Of an answer without a person: wrong, or of a class that must not be missed and was."""

    wrong = "wrong"
    missed = "missed"


FaultOf = Annotated[Fault, typer.Option("--fault", help="Whether that share is of wrong or of missed answers.")]


def prevalences(bundle: Bundle, stated: list[str] | None) -> dict[str, float | None]:
    """Of every class of a bundle, in its order; None where nobody stated one. Raises UsageError."""
    found: dict[str, float | None] = dict.fromkeys(bundle.classes)
    for one in stated or ():
        name, _, share = one.rpartition("=")
        try:
            value = float(share)
        except ValueError:
            value = math.nan
        if name not in found or not 0 < value < 1:
            raise UsageError(
                f"--prevalence {one} is not a class with a share above 0 and below 1; {bundle.classes[0]}=0.02 was "
                f"expected. The classes are {', '.join(bundle.classes)}."
            )
        found[name] = value
    return found


def with_facts(bundle: Bundle, reading: Reading | Withheld, stated: Mapping[str, float | None]) -> dict[str, Any]:
    """A reading as JSON, with what each model's answer is worth and on which images that was measured."""
    if isinstance(reading, Withheld):
        return reading.to_json()
    metrics = bundle.card.metrics
    worth: dict[str, Any] = {"data": bundle.card.data.name, "split": metrics.split, "n": metrics.n}
    for opinion in reading.opinions:
        found = facts(metrics.of(opinion.role), opinion.prediction, stated[opinion.prediction])
        worth[opinion.role] = {"class": opinion.prediction, **found.to_json()}
    return {**reading.to_json(), "facts": worth}


def sorting(bundle: Bundle, files: Sequence[Path], risk: float, fault: Fault, frame: int, confirmed: bool) -> Answer:
    """Who is to answer to each file: `kdlight predict --triage`. Folders are walked."""
    from kdlight import inference
    from kdlight.inference import triage

    limit = triage.threshold(bundle, risk, fault.value)
    listed = inference.listing(files).files
    with counted("Reading") as progress:
        found = []
        for one in triage.sort(inference.Predictor(bundle), listed, limit, frame, confirmed):
            found.append(one)
            progress(len(found), len(listed))
    counts = {by: sum(one.by == by for one in found) for by in ("student", "both", "person")}
    told = {"bundle": bundle.card.id, "risk": risk, "fault": fault.value, "threshold": limit}
    payload = {**told, "counts": counts, "files": [one.model_dump(mode="json") for one in found]}
    rows = [(Path(one.file).name, one.by, one.answer, one.probability, one.refused) for one in found]
    summary = f"{counts['student']} by the student alone, {counts['both']} by both, {counts['person']} for a person."
    return Answer(payload, [table(("file", "answered by", "answer", "probability", "why not"), rows), summary])


def text(evaluation: Evaluation) -> Iterator[Any]:
    """What of it was asked for, under what it is."""
    if evaluation.drift is not None:
        yield "\n" + " ".join(sentences(evaluation.drift))
    if evaluation.ledger is not None:
        yield from _ledger(evaluation.ledger)
    if evaluation.subgroups:
        yield from _subgroups(evaluation.subgroups)
    if evaluation.facts:
        yield "\nWhat an answer is worth at the prevalence that was stated."
        yield facts_table(evaluation.facts)
    if evaluation.eligibility is not None:
        yield "\nImages that are withheld as not belonging."
        yield table(("kind", "n", "share"), [(one.kind, one.n, one.share) for one in evaluation.eligibility])
    if evaluation.shortcuts is not None:
        yield from _shortcuts(evaluation.shortcuts)
    if evaluation.look_alike is not None:
        yield from _look_alike(evaluation.look_alike)
    if evaluation.triage is not None:
        yield from _triage(evaluation.triage)
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


def facts_table(facts: Mapping[Role, Mapping[str, Facts]]) -> Any:
    """A row for each class and model that has a prevalence."""
    rows = [
        (name, role, f.prevalence, f.positives, f.negatives, f.sensitivity, f.specificity, f.ppv, f.npv)
        for role, by_class in facts.items()
        for name, f in by_class.items()
        if f.prevalence is not None
    ]
    columns = ("class", "model", "prevalence", "n with", "n without", "sensitivity", "specificity", "PPV", "NPV")
    return table(columns, rows)


def _subgroups(subgroups: Subgroups) -> Iterator[Any]:
    rows = [
        (column, value, part.n, part.teacher, part.student, part.change)
        for column, values in subgroups.items()
        for value, part in values.items()
    ]
    yield "\nBalanced accuracy by group of images."
    yield table(("column", "value", "n", "teacher", "student", "student less teacher"), rows)


def _shortcuts(found: Shortcuts) -> Iterator[Any]:
    yield (
        f"\nBalanced accuracy by probes for shortcuts, on {found.n} images; chance is {found.chance:.2f}. Changed: "
        f"share of images whose answer is another than to the whole image."
    )
    rows: list[tuple[Any, ...]] = [("whole image", found.teacher, found.student)]
    rows += [(PROBES[p.kind], p.teacher, p.student, p.gap, p.teacher_changed, p.student_changed) for p in found.probes]
    yield table(("", "teacher", "student", "student less teacher", "teacher changed", "student changed"), rows)
    for of in found.sources:
        yield f"\nThe {of.column} alone tells the class with balanced accuracy {of.told:.2f}. Shift of the probability:"
        rows = [(one.source, one.n, one.toward, one.teacher, one.student, one.gap) for one in of.values]
        yield table((of.column, "n", "toward", "teacher", "student", "student less teacher"), rows)


def _look_alike(found: LookAlike) -> Iterator[Any]:
    yield (
        f"\nHeat maps ({found.method}) of both models' own answers, mean over {found.n} images; {found.flat} more have "
        f"a flat map. By chance the overlap is 0.2."
    )
    titles = {
        "rank_correlation": "rank correlation",
        "overlap": "overlap of the strongest fifth",
        "gaps": "rank correlation of probability gap and map gap",
    }
    yield table(("", "value"), [(title, getattr(found, name)) for name, title in titles.items()])


def _triage(found: Triage) -> Iterator[Any]:
    fault = "wrong" if found.fault == "wrong" else "a missed class that must not be missed"
    asked = f"at most {found.risk:g} of the answers without a person {fault}, with confidence 0.95"
    if found.threshold is None:
        yield (
            f"\nTriage, {asked}: {found.calibrated} calibration images prove no threshold; {found.least} or more "
            f"answers without a fault were needed. Every image is a person's."
        )
        return
    yield (
        f"\nTriage, {asked}: a model answers from a probability of {found.threshold:g} on. The threshold is of "
        f"{found.calibrated} images (one of each group), the figures are of the {found.n} others."
    )
    names = ("student", "called", "person", "wrong", "wrong_alone", "missed")
    titles = (
        "answered by the student alone",
        "teacher called",
        "left to a person",
        "wrong, of the answers without a person",
        "wrong, of the student's alone",
        "must-not-miss missed, of the answers without a person",
    )
    rows = [(title, getattr(found, name)) for title, name in zip(titles, names, strict=True)]
    if found.ms is not None and found.ms_both is not None:
        rows.append(("milliseconds an image, both asked always", found.ms_both))
        rows.append(("milliseconds an image, triage", found.ms))
    yield table(("", "share"), rows)
