"""What the teacher gave: the student against the same student from the same starting weights without its teacher.

The usual baseline, the student alone, may start elsewhere: where the taught student starts with weights that were
distilled before or come out of its trained teacher, the student alone starts with a selection of those that the teacher
started with. What is then gained over it is in part the worth of the starting weights. A gain is called proven only
over the same student from the same starting weights, beyond chance in the test images and in the training.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from kdlight.bundle.study_record import NO_INTERVAL, StudyRecord
from kdlight.metrics import Interval
from kdlight.metrics.trainings import ALPHA, TrainingTest, adjusted

NOT_COMPARED = "not compared with the same student from the same starting weights"
NO_TEACHER = "this student has no teacher: what it gained are its starting weights"
ONCE = "one training of each"
FREE = ("seed", "alone", "scratch", "same_start")
"""Of [train] what is no part of a schedule: it only says which seeds and baselines were run."""


@dataclass(frozen=True, slots=True)
class OverSameStart:
    """The gain over that baseline."""

    gain: Interval | None
    """0 to 1, with chance in the test images alone; None where the two were not compared."""
    seeds: int
    """0 without a study: each was trained once, on another budget of chance than a seed's pair."""
    taught: bool = True
    test: TrainingTest | None = None
    """With chance in the training too; None where that is not known."""
    adjusted_p: float | None = None
    """The test's p adjusted for all comparisons that it stands among; None where it stands alone."""

    @property
    def compared(self) -> bool:
        return self.taught and self.gain is not None

    @property
    def proven(self) -> bool:
        """A gain beyond chance in images and training, also among the comparisons that it stands among."""
        return self._beyond_chance and self.test is not None and self.test.interval.above_zero

    @property
    def _beyond_chance(self) -> bool:
        p = None if self.test is None else self.test.p if self.adjusted_p is None else self.adjusted_p
        return self.test is not None and not self.test.interval.spans_zero and p is not None and p < ALPHA

    @property
    def words(self) -> str:
        """For people, in points, with what it is worth; or that it was not compared."""
        if not self.taught:
            return NO_TEACHER
        if self.gain is None:
            return NOT_COMPARED
        value, points = f"{self.gain.points.value:+.1f}", f"{self.gain.points:+.1f} points"
        if not self.seeds:
            return f"not proven: {value} points, {ONCE}"
        if self.gain.low is None or self.gain.high is None:
            return f"not proven: {value} points, without an interval"
        if self.test is None:
            return f"not proven: {points}, {'one seed' if self.seeds == 1 else 'on these test images'}"
        points = f"{self.test.interval.points:+.1f} points"
        if self._beyond_chance:
            return f"{'proven' if self.test.interval.above_zero else 'a loss'}: {points}"
        on_images = "" if self.gain.spans_zero else f"; {self.gain.points:+.1f} on these test images"
        return f"not proven: {points}{on_images}"

    @property
    def sentence(self) -> str:
        """The same, standing by itself."""
        if not self.compared:
            return f"{self.words[:1].upper()}{self.words[1:]}."
        return f"Against the same student from the same starting weights without its teacher: {self.words}."


def over_same_start(record: StudyRecord) -> OverSameStart:
    test = record.test_over(record.baseline) if record.taught else None
    return OverSameStart(record.over_same_start, len(record.seeds), record.taught, test, record.adjusted_p)


def together(records: Iterable[StudyRecord]) -> list[StudyRecord]:
    """Records that are shown together, with the p of each adjusted for all of them (Benjamini-Hochberg)."""
    shown = list(records)
    tests = [over_same_start(record).test for record in shown]
    ps = iter(adjusted([test.p for test in tests if test is not None]))
    return [r if test is None else r.replace(adjusted_p=next(ps)) for r, test in zip(shown, tests, strict=True)]


def over_alone(record: StudyRecord) -> str:
    """The gain over the student alone with its unit, for a sentence; it is never called proven."""
    return record.gain if record.gain == NO_INTERVAL else f"{record.gain} points"


def with_baseline(record: StudyRecord, others: Iterable[StudyRecord]) -> StudyRecord:
    """The record with the baseline out of another study, where its own did not run it and another did.

    That study is of the same set, pair, starting weights and schedule, without a teacher. Its answers are not paired
    with this record's, so the difference has no interval.
    """
    if not record.taught or record.over_same_start is not None:
        return record
    other = next((other for other in others if _is_baseline(other, record)), None)
    if other is None:
        return record
    scores = {row.seed: row.student for row in other.seeds}
    return record.replace(
        seeds=tuple(row.replace(same_start=scores[row.seed]) for row in record.seeds),
        gain_over_same_start=Interval(record.mean.student - other.mean.student),
    )


def _is_baseline(other: StudyRecord, record: StudyRecord) -> bool:
    return (
        not other.taught
        and (other.recipe, other.set_name, other.folds) == (record.recipe, record.set_name, record.folds)
        and _setting(other) == _setting(record)
        and {row.seed for row in other.seeds} == {row.seed for row in record.seeds}
        and (record.init != "teacher" or other.mean.teacher == record.mean.teacher)
    )


def _setting(record: StudyRecord) -> str:
    """Pair, starting weights, size, and the settings of data, student and training that say more than what was run."""
    sections = {key: dict(record.settings.get(key, {})) for key in ("data", "student", "train")}
    sections["train"] = {key: value for key, value in sections["train"].items() if key not in FREE}
    pair = record.models.teacher.architecture, record.models.student.architecture
    return json.dumps([*pair, record.init, record.data.size, sections], sort_keys=True)
