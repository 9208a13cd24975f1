"""What is said of a pair wherever its figures stand: what must stand beside them, and what the teacher gave.

The student alone may start with other weights than the taught one; only the gain over the same student from the same
starting weights is ever called proven (`kdlight.studies.gains`).
"""

from __future__ import annotations

from collections.abc import Sequence

from kdlight.bundle import Card
from kdlight.bundle.card import Metrics
from kdlight.bundle.speed import Speed
from kdlight.bundle.study_record import SAME_WEIGHTS, UNTAUGHT, StudyRecord
from kdlight.contracts.reading import Role
from kdlight.metrics import Interval
from kdlight.reports import words
from kdlight.reports.document import Cell, Figure, Table
from kdlight.studies import gains as study_gains
from kdlight.studies.gains import ONCE, OverSameStart
from kdlight.studies.records import of_card

FIGURES = {
    "balanced_accuracy": "Balanced accuracy",
    "auc": "AUC",
    "macro_f1": "Macro F1",
    "ece": "Calibration error (ECE)",
}
MODELS = {
    "teacher": "Teacher",
    "student": "Student",
    "alone": "Student alone",
    "scratch": "Student from scratch",
    "same_start": "Student, same start",
}
WITHOUT_TEACHER = {"alone": "no teacher", "scratch": "random weights, no teacher", "same_start": "no teacher"}


def performance(card: Card, metrics: Metrics, timed: Speed | None) -> Table:
    """A row per figure, a column per model, intervals inline; the student alone costs what the student does."""
    present = metrics.reports
    networks = [card.network("teacher" if model == "teacher" else "student") for model in present]
    rows: list[tuple[Cell, ...]] = [
        (title, *(Figure(getattr(report, name)) for report in present.values())) for name, title in FIGURES.items()
    ]
    rows += [
        ("Size on disk", *(words.megabytes(network.bytes) for network in networks)),
        ("Parameters", *(words.millions(network.parameters) for network in networks)),
        ("Multiply-adds", *(words.millions(network.macs) for network in networks)),
    ]
    if timed is not None:
        ms = [timed.teacher_ms if model == "teacher" else timed.student_ms for model in present]
        rows.append(("Time per image", *(f"{words.number(one)} ms" for one in ms)))
    heads = [""]
    for model, network in zip(present, networks, strict=True):
        heads.append(f"{MODELS[model]}\n{WITHOUT_TEACHER.get(model, words.architecture(network.architecture))}")
    return Table(tuple(heads), tuple(rows))


def failure(roles: Sequence[Role]) -> str | None:
    """Which models of a pair are no better than chance on their test images; None where both are."""
    if not roles:
        return None
    subject = "neither model is" if len(roles) > 1 else f"the {roles[0]} is not"
    return f"Failed: {subject} better than chance on the test images."


def caveats(card: Card) -> list[str]:
    """What must stand beside every figure, the worst first: failure, then a teacher that began from nothing."""
    began_random = card.origin is not None and card.origin.kind == "random"
    untrained = "Teacher started from random weights." if began_random else None
    return [caveat for caveat in (failure(card.at_chance), untrained) if caveat]


def over_alone(card: Card) -> str:
    """Against the student alone: points with their interval and seeds, or what is known of one training."""
    if card.metrics.study is not None:
        return _of_study(card.metrics.study)
    gain = _of_one_training(card, "alone")
    if gain is None:
        return "student alone not trained"
    return f"{gain.points.value:+.1f} points over the student alone, {ONCE}: not told from 0"


def over_same_start(card: Card) -> OverSameStart:
    """Against the same student from the same starting weights without its teacher."""
    if card.metrics.study is not None:
        return study_gains.over_same_start(of_card(card))
    baseline = "alone" if card.distillation.init in SAME_WEIGHTS else "same_start"
    return OverSameStart(_of_one_training(card, baseline), 0, card.distillation.method != UNTAUGHT)


def gain_sentence(card: Card) -> str:
    """Both, for the line below a table of figures."""
    return f"Gain: {over_alone(card)}. {over_same_start(card).sentence}"


def _of_study(record: StudyRecord) -> str:
    gain = record.over("alone")
    if gain is None or gain.low is None or gain.high is None:
        return f"too few images for an interval, {record.runs}"
    suffix = ", not told from 0" if gain.spans_zero else ""
    return f"{gain.points:+.1f} points over the student alone, {record.runs}{suffix}"


def _of_one_training(card: Card, baseline: str) -> Interval | None:
    """The student's balanced accuracy less a baseline's, without bounds; None where that was not trained."""
    without = card.metrics.reports.get(baseline)
    if without is None or without.balanced_accuracy is None:
        return None
    return Interval(card.metrics.balanced_accuracy("student") - without.balanced_accuracy.value)
