"""The table of the shipped recipes' cross-validations from the records in docs/studies: see write_table.py."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdlight.metrics import Interval
from kdlight.metrics.trainings import not_worse
from kdlight.studies import StudyRecord, collect
from kdlight.studies.gains import over_same_start, together
from tools.results.page import MARGIN
from tools.results.sets import points
from tools.results.sets import table as markdown

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- folds: written by `make docs` -->", "<!-- end of folds -->"
HEAD = (
    *("set", "images", "teacher", "student", "same start, no teacher", "alone"),
    *("student minus teacher", "not worse by more than 2 points", "student minus same start", "student minus alone"),
)


def row(record: StudyRecord) -> list[str]:
    """Means over the folds; differences in points with chance in images, split, teacher and student."""
    means = record.mean.by_model
    scores = (f"{means[name]:.3f}" if name in means else "-" for name in ("teacher", "student", "same_start", "alone"))
    gap = record.over("teacher")
    return [
        f"`{record.set_name}`",
        f"{record.tested:,}" if record.tested else "-",
        *scores,
        _points(gap),
        "shown" if not_worse(gap, MARGIN) else "not shown",
        over_same_start(record).words,
        _points(record.over("alone")),
    ]


def summary(records: Sequence[StudyRecord]) -> str:
    """How many sets there are, and the mean difference to the teacher over them."""
    gaps = [record.mean.student - record.mean.teacher for record in records]
    shown = sum(not_worse(record.over("teacher"), MARGIN) for record in records)
    return (
        f"Over the {len(records)} sets the student is {100 * float(np.mean(gaps)):+.1f} points from its teacher on "
        f"average; that it is not worse by more than {100 * MARGIN:.0f} is shown on {shown}."
    )


def records(folder: Path = ROOT / "docs" / "studies") -> list[StudyRecord]:
    """Cross-validations of a shipped pair's recipe, by set."""
    found = [record for record in collect([folder]) if record.folds and record.recipe == f"kdlight-{record.set_name}"]
    return sorted(together(found), key=lambda record: record.set_name)


def table() -> str:
    found = records()
    if not found:
        return "No cross-validation is recorded yet."
    return f"{markdown(HEAD, map(row, found))}\n\n{summary(found)}"


def _points(gap: Interval | None) -> str:
    return points(gap, 2) or "no interval"
