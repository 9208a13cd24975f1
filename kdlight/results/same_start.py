"""What the teacher gave: the student against the same student from the same starting weights without its teacher.

The usual baseline, the student alone, may begin elsewhere: where the taught student begins with weights that were
distilled before or come out of its trained teacher, the student alone begins with a selection of those that the teacher
began with. What is then gained over it is in part the worth of the starting weights. A gain is called proven only over
the same student from the same starting weights.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from kdlight.metrics import Interval
from kdlight.results.records import Record
from kdlight.results.shipped import FREE

UNTAUGHT = "alone"
"""The method without a teacher; with the first weights of another record it is that record's baseline."""
ALIKE = ("random", "selection", "published")
"""student.init with which the student alone begins as the taught one does."""
NOT_COMPARED = "not compared with the same student from the same starting weights"
OF_NO_TEACHER = "this student has no teacher: what it gained are its starting weights"
NAME = "same_start"
GAIN = f"gain_over_{NAME}"


def gain(record: Record) -> Mapping[str, float | None] | None:
    """Student minus that baseline, 0 to 1, as {"value", "low", "high"}; None where it was not run.

    low and high are None where the two were compared across studies, whose answers were not paired.
    """
    if record.fact("method") == UNTAUGHT:
        return None
    return record.gain if record.fact("init") in ALIKE else record.gains.get(GAIN)


def score(record: Record) -> float | None:
    """Mean balanced accuracy of that baseline; None where it was not run."""
    if record.fact("method") == UNTAUGHT:
        return None
    return record.mean.get("alone" if record.fact("init") in ALIKE else NAME)


def proven(record: Record) -> bool:
    """Whether the interval of `gain` lies above 0, over two seeds or more."""
    found = gain(record)
    return len(record.seeds) > 1 and found is not None and (found["low"] or 0) > 0


def words(record: Record) -> str:
    """The gain over that baseline for people, in points, with what it is worth; or that it was not compared."""
    if record.fact("method") == UNTAUGHT:
        return OF_NO_TEACHER
    interval = Interval.of(gain(record))
    if interval is None:
        return NOT_COMPARED
    numbers = f"{interval.points:+.1f} points"
    if interval.low is None:
        return f"not proven: {numbers}, without an interval"
    if len(record.seeds) == 1:
        return f"not proven: {numbers}, one seed"
    return f"{'proven' if interval.above_zero else 'a loss' if interval.below_zero else 'not proven'}: {numbers}"


def sentence(told: str) -> str:
    """What `words` tells, as a sentence that stands by itself."""
    if told in (NOT_COMPARED, OF_NO_TEACHER):
        return f"{told[:1].upper()}{told[1:]}."
    return f"Against the same student from the same starting weights without its teacher: {told}."


def filled(record: Record, others: Iterable[Record]) -> Record:
    """The record with the baseline out of another study, where its own did not run it and another did.

    That study is of the same set, pair, starting weights and schedule, without a teacher. Its answers are not paired
    with this record's, so the difference has no interval.
    """
    if record.fact("method") == UNTAUGHT or gain(record) is not None:
        return record
    found = next((other for other in others if _is_baseline(other, record)), None)
    if found is None:
        return record
    scores = {row["seed"]: row["student"] for row in found.seeds}
    return dataclasses.replace(
        record,
        seeds=tuple({**row, NAME: scores[row["seed"]]} for row in record.seeds),
        mean={**record.mean, NAME: found.mean["student"]},
        gains={
            **record.gains,
            GAIN: {"value": record.mean["student"] - found.mean["student"], "low": None, "high": None},
        },
    )


def _is_baseline(other: Record, record: Record) -> bool:
    same = ("architecture", "init", "size")
    return (
        other.fact("method") == UNTAUGHT
        and (other.recipe, other.data) == (record.recipe, record.data)
        and all(_plain(other.fact(name)) == _plain(record.fact(name)) for name in same)
        and {row["seed"] for row in other.seeds} == {row["seed"] for row in record.seeds}
        and _schedule(other) == _schedule(record)
        and (record.fact("init") != "teacher" or other.mean["teacher"] == record.mean["teacher"])
    )


def _schedule(record: Record) -> str:
    """The settings of data, student and training, without what says only which seeds and baselines were run."""
    sections: Mapping[str, Mapping[str, Any]] = record.fact("settings") or {}
    kept = {name: dict(sections.get(name, {})) for name in ("data", "student", "train")}
    kept["train"] = {key: value for key, value in kept["train"].items() if key not in FREE}
    return _plain(kept)


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
