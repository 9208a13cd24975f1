"""What both models answer by the rim, the center, corners or a marker alone, and by where an image is from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kdlight.contracts.reading import ROLES
from kdlight.metrics import Interval
from kdlight.metrics.shortcuts import PROBES, Probe, Shortcuts, Sources, above
from kdlight.reports import words
from kdlight.reports.document import Block, Cell, Figure, Paragraph, Section, Table

BOTH = tuple(role.capitalize() for role in ROLES)
WHOLE = "whole image"


def section(found: Shortcuts, names: Mapping[str, str]) -> Section:
    """For a card; names: of the classes, in words."""
    tables = (*every(found), *(block for of in found.sources for block in source(of, names)))
    return Section("Shortcuts: what the answer rests on", (Paragraph(" ".join(sentences(found))), *tables))


def sentences(found: Shortcuts) -> Iterator[str]:
    """What the rim alone tells, whether that is more of one model, and what a marker does."""
    rim, marker, chance = found.of("rim"), found.of("marker"), words.score(found.chance)
    if rim is not None:
        yield (
            f"From the rim alone the teacher still has a balanced accuracy of {words.interval(rim.teacher)} and the "
            f"student of {words.interval(rim.student)}, where chance is {chance} (n = {rim.n})."
        )
        proven: list[str] = [role for role in ROLES if above(getattr(rim, role), found.chance)]
        if proven:
            yield f"What lies outside of the center tells the {words.listed(proven)} something of the class."
        yield _distilled(rim)
    if marker is not None:
        yield (
            f"A white letter in the corner changes a share of {words.interval(marker.teacher_changed)} of the "
            f"teacher's answers and of {words.interval(marker.student_changed)} of the student's."
        )


def _distilled(rim: Probe) -> str:
    """Whether the student leans on the rim more than its teacher."""
    gap = rim.gap
    if gap is None or gap.spans_zero:
        return "That distillation changed this is not shown."
    side = "more" if gap.above_zero else "less"
    return f"The student draws {side} from it than its teacher: {Figure(gap, 'points')} points."


def every(found: Shortcuts) -> Iterator[Block]:
    """Every probe, beside the whole image."""
    yield Paragraph(
        "The rim is a tenth of the side; the rest then comes from other images, one of each class. Changed: share "
        "of images whose answer is another than to the whole image."
    )
    rows: list[tuple[Cell, ...]] = [(WHOLE, Figure(found.teacher), Figure(found.student), "", "", "")]
    for probe in found.probes:
        gap = "" if probe.gap is None else Figure(probe.gap, "points")
        changed = (Figure(probe.teacher_changed), Figure(probe.student_changed))
        rows.append((PROBES[probe.kind], Figure(probe.teacher), Figure(probe.student), gap, *changed))
    yield Table(("", *BOTH, "Student less teacher", "Teacher changed", "Student changed"), tuple(rows))


def source(of: Sources, names: Mapping[str, str]) -> Iterator[Block]:
    """How much more probable a source's class is to images that are of it, beside what the source alone would tell."""
    yield Paragraph(
        f"Who knew nothing but the {of.column} of an image would tell its class with a balanced accuracy of "
        f"{words.score(of.told)}. How much more probable the class that a {of.column} goes with is for other images of "
        f"that {of.column}, in points:"
    )
    rows = tuple(
        (f"{one.source}, toward {names[one.toward]}", *map(_shift, (one.teacher, one.student, one.gap)))
        for one in of.values
    )
    yield Table(("", *BOTH, "Student less teacher"), rows)


def _shift(shift: Interval | None) -> Cell:
    return "not to be told from the class" if shift is None else Figure(shift, "points")
