"""What a teacher gave its student, in words, always against both baselines.

The student alone may start with other weights than the taught one; only the gain over the same student from the same
starting weights is ever called proven (`kdlight.studies.gains`).
"""

from __future__ import annotations

from kdlight.bundle import Card
from kdlight.bundle.study_record import SAME_WEIGHTS, UNTAUGHT, StudyRecord
from kdlight.metrics import Interval
from kdlight.studies import gains
from kdlight.studies.gains import ONCE, OverSameStart
from kdlight.studies.records import of_card
from kdlight.ui import words


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
        return gains.over_same_start(of_card(card))
    baseline = "alone" if card.distillation.init in SAME_WEIGHTS else "same_start"
    return OverSameStart(_of_one_training(card, baseline), 0, card.distillation.method != UNTAUGHT)


def sentence(card: Card) -> str:
    """Both, for the line below a table of figures."""
    return f"Gain: {over_alone(card)}. {over_same_start(card).sentence}"


def html(card: Card) -> str:
    """For a tile: the gain over the student alone, below it the one that can be proven."""
    same_start = over_same_start(card)
    opening = "" if same_start.taught and not same_start.compared else "from the same starting weights: "
    return f"{words.safe(over_alone(card))}<br><small>{opening}{words.safe(same_start.words)}</small>"


def _of_study(record: StudyRecord) -> str:
    seeds = f"{len(record.seeds)} seeds" if len(record.seeds) > 1 else "one seed"
    gain = record.gain_over_alone
    if gain is None or gain.low is None or gain.high is None:
        return f"too few images for an interval, {seeds}"
    suffix = ", not told from 0" if gain.spans_zero else ""
    return f"{gain.points:+.1f} points over the student alone, {seeds}{suffix}"


def _of_one_training(card: Card, baseline: str) -> Interval | None:
    """The student's balanced accuracy less a baseline's, without bounds; None where that was not trained."""
    without = card.metrics.reports.get(baseline)
    if without is None or without.balanced_accuracy is None:
        return None
    return Interval(card.metrics.balanced_accuracy("student") - without.balanced_accuracy.value)
