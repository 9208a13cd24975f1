"""What a teacher gave its student, in words, always against both baselines.

The student alone may begin with other weights than the taught one; only the gain over the same student from the same
starting weights is ever called proven (`kdlight.results.same_start`).
"""

from __future__ import annotations

from kdlight import results
from kdlight.bundle import Bundle, Card
from kdlight.metrics import Interval
from kdlight.results import Record, same_start
from kdlight.ui import words

NO_RECORD = "not readable on its card"
ONCE = "one training of each"


def over_alone(bundle: Bundle) -> str:
    """Against the student alone: points with their interval and seeds, or what is known of one training."""
    if bundle.card.metrics.study is None:
        found = _once(bundle.card, "alone")
        if found is None:
            return "student alone not trained"
        return f"{found:+.1f} points over the student alone, {ONCE}: not told from 0"
    record = _record(bundle)
    return NO_RECORD if record is None else _of_study(record)


def over_same_start(bundle: Bundle) -> str:
    """Against the same student from the same starting weights without its teacher."""
    card = bundle.card
    if card.metrics.study is not None:
        record = _record(bundle)
        return same_start.NOT_COMPARED if record is None else same_start.words(record)
    if card.distillation.method == same_start.UNTAUGHT:
        return same_start.OF_NO_TEACHER
    alike = card.distillation.init in same_start.ALIKE
    found = _once(card, "alone" if alike else "same_start")
    return same_start.NOT_COMPARED if found is None else f"not proven: {found:+.1f} points, {ONCE}"


def sentence(bundle: Bundle) -> str:
    """Both, for the line below a table of figures."""
    return f"Gain: {over_alone(bundle)}. {same_start.sentence(over_same_start(bundle))}"


def _of_study(record: Record) -> str:
    seeds = f"{len(record.seeds)} seeds" if len(record.seeds) > 1 else "one seed"
    interval = Interval.of(record.gain)
    if interval is None or interval.low is None:
        return f"too few images for an interval, {seeds}"
    told = ", not told from 0" if interval.spans_zero else ""
    return f"{interval.points:+.1f} points over the student alone, {seeds}{told}"


def _record(bundle: Bundle) -> Record | None:
    try:
        return results.read(bundle.path / "card.json")
    except (results.RecordError, OSError):
        return None


def _once(card: Card, baseline: str) -> float | None:
    """The student's balanced accuracy less a baseline's, in points; None where one of the two is not there."""
    without = card.metrics.reports.get(baseline)
    if without is None or without.balanced_accuracy is None:
        return None
    return 100 * (card.metrics.balanced_accuracy("student") - without.balanced_accuracy.value)


def html(bundle: Bundle) -> str:
    """For a tile: the gain over the student alone, below it the one that can be proven."""
    told = over_same_start(bundle)
    told = told if told == same_start.NOT_COMPARED else f"from the same starting weights: {told}"
    return f"{words.safe(over_alone(bundle))}<br><small>{words.safe(told)}</small>"
