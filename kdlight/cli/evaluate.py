"""Commands that measure a bundle on labeled data and against its own golden cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdlight.cli import trust
from kdlight.cli.output import Answer, BundleFolder, Data, Json, answers, counted, open_bundle, pairs, table
from kdlight.cli.trust import (
    CoverageOf,
    EligibilityOf,
    Fault,
    FaultOf,
    LedgerOf,
    LookAlikeOf,
    Prevalence,
    Risk,
    ShortcutsOf,
)
from kdlight.data.notes import had_a_part
from kdlight.explain import DEFAULT
from kdlight.metrics import Interval
from kdlight.metrics.localization import FIGURES, Localization
from kdlight.metrics.operating import OperatingPoints
from kdlight.metrics.robustness import CorruptionCost

if TYPE_CHECKING:
    from kdlight.inference.evaluate import Evaluation
    from kdlight.workers import Verification

BINDING = {
    True: "bind models, classes and thresholds; scores, limits and license only a signature does",
    False: "bind nothing: the bundle was made before they did",
}


@answers
def evaluate(
    bundle: BundleFolder,
    data: Data,
    split: Annotated[str, typer.Option(help="Split to measure; all for data without splits.")] = "test",
    mirrored: Annotated[bool, typer.Option("--mirrored", help="Average each picture with its mirror image.")] = False,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of outlines with the images' names; for sets with none beside them.")
    ] = None,
    method: Annotated[str, typer.Option("--explain", help="Heat map held against the outlines.")] = DEFAULT,
    corruptions: Annotated[
        bool, typer.Option("--corruptions", help="What noise, blur, JPEG, fewer pixels and gamma cost each model.")
    ] = False,
    ledger: LedgerOf = False,
    coverage: CoverageOf = False,
    triage: Risk = None,
    fault: FaultOf = Fault.wrong,
    prevalence: Prevalence = None,
    eligibility: EligibilityOf = False,
    shortcuts: ShortcutsOf = False,
    look_alike: LookAlikeOf = False,
    as_json: Json = False,
) -> Answer:
    """Measure teacher and student on labeled data, each number with its 95 % interval."""
    from kdlight.inference import measures
    from kdlight.inference.evaluate import evaluate as evaluate_bundle

    opened = open_bundle(bundle)
    with counted("Evaluating") as shown:
        evaluation = evaluate_bundle(
            opened, data, split, lambda share, _: shown(round(100 * share), 100), mirrored, masks, method, corruptions
        )
    wanted = {"ledger": ledger, "coverage": coverage, "eligibility": eligibility}
    wanted |= {"shortcuts": shortcuts, "look_alike": look_alike, "drift": True, "subgroups": True}
    added = {name: measures.ADDED[name](opened, evaluation) for name, asked in wanted.items() if asked} | {
        "triage": None if triage is None else measures.triage_of(opened, evaluation, triage, fault.value),
        "facts": measures.facts_of(evaluation.reports, trust.prevalences(opened, prevalence)) if prevalence else None,
    }
    evaluation = evaluation.model_copy(update=added)
    return Answer(evaluation, _text(evaluation))


@answers
def verify(bundle: BundleFolder, as_json: Json = False) -> Answer:
    """Check a bundle's checksums and signature, then ask both models its golden cases again, in a limited process."""
    from kdlight.workers import trial

    found = trial.verify(open_bundle(bundle).path)
    fault = None if found.ok else f"{found.bundle}: {found.fault} Get the bundle again."
    return Answer(found.model_dump(mode="json"), text=_verified(found), fault=fault)


@answers
def sign(
    bundle: BundleFolder,
    key: Annotated[Path, typer.Option(help="Your private Ed25519 key, PEM or OpenSSH (ssh-keygen -t ed25519).")],
    as_json: Json = False,
) -> Answer:
    """Sign a bundle: whoever trusts your public key then sees that it is as you left it."""
    from getpass import getpass

    from kdlight.bundle import signature

    opened = open_bundle(bundle)
    signed = signature.sign(opened, key, lambda: getpass(f"Password of {key.name}: ").encode())
    told = f"Signed. Who puts the public key into {signature.trusted_folder()} as NAME.pub sees it as signed by NAME."
    return Answer({"bundle": opened.card.id, "sha256": opened.sha256, **signed.to_json()}, text=[told])


def _verified(found: Verification) -> list[Any]:
    """What was found, and in words whose bundle it is and whether its golden cases bind all of it."""
    rows = found.model_dump(mode="json", exclude={"bound", "changed", "fault", "signature"})
    return [pairs({**rows, "signature": found.signature.words, "golden cases": BINDING[found.bound]})]


def _text(evaluation: Evaluation) -> list[Any]:
    reports = evaluation.reports
    first = next(iter(reports.values()))
    names = [name for name, value in first if isinstance(value, (int, float, Interval))]
    measured = table(("", *reports), [(name, *(getattr(one, name) for one in reports.values())) for name in names])
    located = _located(evaluation.localization) if evaluation.localization else ()
    doubt = had_a_part(evaluation.split)
    told = [*located, *_operating(evaluation.operating or {}), *_corrupted(evaluation.corruptions or ())]
    told += trust.text(evaluation)
    return [*([doubt] if doubt else []), measured, *told]


def _operating(by_class: Mapping[str, OperatingPoints]) -> tuple[Any, ...]:
    """What the card's thresholds give for the sensitivity that its recipe asks for; --json has the others, too."""
    rows = [
        (name, role, point.aim, point.threshold, point.sensitivity, point.specificity)
        for name, points in by_class.items()
        for role, point in (("teacher", points.at("teacher")), ("student", points.at("student")))
    ]
    columns = ("must not miss", "model", "sensitivity asked", "not ruled out from", "sensitivity", "specificity")
    words = "\nThresholds were chosen on calibration images; none where they were too few for that sensitivity."
    return (words, table(columns, rows)) if rows else ()


def _corrupted(costs: Sequence[CorruptionCost]) -> tuple[Any, ...]:
    """The change of balanced accuracy under each corruption, in points."""
    if not costs:
        return ()
    figures = [(one.teacher, one.student, one.gap) for one in costs]
    points = [[None if figure is None else f"{figure.points:+.1f}" for figure in row] for row in figures]
    rows = [(one.kind, one.severity, *row) for one, row in zip(costs, points, strict=True)]
    columns = ("corruption", "severity", "teacher", "student", "student less teacher")
    return "\nBalanced accuracy under corruption less that of the clean images, in points.", table(columns, rows)


def _located(located: Localization) -> tuple[str, Any]:
    """The heat maps against the outlines, under what they are and with the number of images that they are means of."""
    words = (
        f"\nHeat maps ({located.method}) against the outlines of {located.images} image(s), over those that each "
        f"model answers rightly. The outlines take {located.area:.1%} of the area."
    )
    models = located.teacher, located.student
    rows: list[tuple[Any, ...]] = [("n, outlined and answered rightly", *(one.n for one in models))]
    rows += [(title, *(getattr(one, figure) for one in models)) for figure, title in FIGURES.items()]
    return words, table(("", "teacher", "student"), rows)
