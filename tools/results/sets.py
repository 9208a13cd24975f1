"""One set's part of the results page: every study on it, best first, what they share, and how to make them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kdlight.bundle.study_record import SAME_WEIGHTS, StudyNetwork
from kdlight.metrics import Interval
from kdlight.studies import StudyRecord
from kdlight.studies.gains import over_same_start
from kdlight.studies.records import command_of
from tools.results.rows import borrowed, cut, row_of, told_apart

BY_CHANCE = 0.025
"""Share of 95 % intervals that lie above a true gain of 0."""
Cell = Callable[[StudyRecord], str]


def of_set(records: Sequence[StudyRecord], options: Mapping[str, Mapping[str, Any]]) -> str:
    """All that was run on one set, then the commands by number. `options`: the defaults of methods."""
    if not records:
        return "Nothing was run on this set."
    ordered = sorted(records, key=lambda r: (len(r.seeds) == 1, -r.mean.student))
    columns = {name: [cell(r) for r in ordered] for name, cell in COLUMNS.items()}
    shared = {n: c[0] for n, c in columns.items() if n in SHARED and len(ordered) > 1 and len(set(c)) == 1}
    left = {name: cells for name, cells in columns.items() if name not in shared}
    rows = [
        [f"{number}", _name(record, ordered), *(cells[number - 1] for cells in left.values())]
        for number, record in enumerate(ordered, 1)
    ]
    commands = "\n".join(f"{n}. `{command_of(r, options)}`" for n, r in enumerate(ordered, 1))
    found = table(["", "system or method", *left], rows)
    return "\n\n".join(filter(None, [_shared(shared), found, _said(ordered), _machine(ordered), commands]))


def gain(record: StudyRecord) -> str:
    """Points over the student alone with their interval, bold where that lies above 0; said where it is of one seed."""
    return points(record.over("alone"), len(record.seeds)) or record.gain


def points(gain: Interval | None, seeds: int) -> str:
    """A difference of 0 to 1 in points with its interval; empty where there is none."""
    if gain is None or gain.low is None:
        return ""
    numbers = f"{gain.points:+.1f}"
    if seeds == 1:
        return f"{numbers}, one seed"
    if gain.above_zero:
        return f"**{numbers}**"
    return f"{numbers}, {'a loss' if gain.below_zero else 'not told from 0'}"


def best(records: Sequence[StudyRecord]) -> StudyRecord | None:
    """Of several studies on one set the one with the largest proven gain; None where none is proven."""
    gains = [(record, record.over_same_start) for record in records if over_same_start(record).proven]
    if len(records) < 2 or not gains:
        return None
    return max(gains, key=lambda pair: pair[1].value if pair[1] else 0.0)[0]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _name(record: StudyRecord, others: Sequence[StudyRecord]) -> str:
    row, pair = row_of(record), borrowed(record)
    apart = told_apart(record, [other for other in others if row_of(other) == row])
    more = [said for said in (f"on {pair}'s pair and schedule" if pair else "", apart, cut(record)) if said]
    return row.words(record.method.paper) + (f" ({', '.join(more)})" if more else "")


def _shared(values: Mapping[str, str]) -> str:
    told = [f"{name} {value}" for name, value in values.items() if value != "-"]
    return f"The same in all rows: {'; '.join(told)}." if told else ""


def _said(records: Sequence[StudyRecord]) -> str:
    """What the table has no columns for: pairs that learned together, and how many gains chance would give."""
    lines = [_pair(number, r) for number, r in enumerate(records, 1) if r.mean.partner is not None]
    tried = sum(len(r.seeds) > 1 for r in records)
    if tried > 1:
        lines.append(
            f"{tried} studies of two seeds or more are on this set: of as many methods that give nothing, "
            f"{BY_CHANCE * tried:.2g} would have an interval above 0 by chance. What is called proven is adjusted for "
            "that over the whole page."
        )
    return " ".join(lines)


def _pair(number: int, record: StudyRecord) -> str:
    """Both models of a pair that learned together."""
    seeds = len(record.seeds)
    mean = record.mean
    told = [
        f"{words} {score:.3f} ({points(gain, seeds) or 'no interval'})"
        for words, score, gain in (
            ("the partner has", mean.partner, record.over("alone", "partner")),
            ("the mean of both", mean.ensemble, record.over("alone", "ensemble")),
        )
    ]
    return (
        f"Row {number} is two models that learned together, of which the bundle ships the first, here the taught one; "
        f"{', '.join(told)}, in points over the student alone."
    )


def _machine(records: Sequence[StudyRecord]) -> str:
    """What the latencies of a set were measured on, once each."""
    said = [
        f"Latency: median of one image of {timed.size} px ({'; '.join(timed.of)}), {timed.threads} of {timed.cores} "
        f"cores of {timed.cpu}."
        for r in records
        if (timed := r.latency)
    ]
    return " ".join(dict.fromkeys(said))


def _mean(record: StudyRecord, model: str) -> str:
    """Mean over the seeds, and how far they lie apart where they do."""
    mean = record.mean.by_model
    if model not in mean:
        return "-"
    scores = [row.by_model[model] for row in record.seeds]
    spread = f" ({min(scores):.3f} to {max(scores):.3f})" if len(set(scores)) > 1 else ""
    return f"{mean[model]:.3f}{spread}"


def _same_start(record: StudyRecord) -> str:
    """Mean of the student from the same starting weights without its teacher, where there was one."""
    score = record.mean.alone if record.init in SAME_WEIGHTS else record.mean.same_start
    return _number(score if record.taught else None, "{:.3f}")


def _mcnemar(record: StudyRecord) -> str:
    """Over all seeds; an older record has the first seed's only."""
    test = record.mcnemar
    if test is None:
        return "-"
    return f"{test.p:.2g}" + (" (first seed)" if len(record.seeds) > 1 and not test.pooled else "")


def _both(both: Sequence[float | None], form: Callable[[Any], str]) -> str:
    """Teacher / student."""
    known = any(value is not None for value in both)
    return " / ".join("-" if value is None else form(value) for value in both) if known else "-"


def _networks(record: StudyRecord) -> tuple[StudyNetwork, StudyNetwork]:
    return record.models.teacher, record.models.student


def _by_role(values: Mapping[str, float | None]) -> list[float | None]:
    return [values.get(role) for role in ("teacher", "student")]


def _number(value: Any, form: str) -> str:
    return "-" if value is None else form.format(value)


def _count(value: float) -> str:
    return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value / 1e3:.3g} k"


def _size(value: float) -> str:
    return f"{value / 1e6:.3g} MB" if value >= 1e6 else f"{value / 1e3:.3g} kB"


COLUMNS: dict[str, Cell] = {
    "models": lambda r: row_of(r).models,
    "teacher": lambda r: _mean(r, "teacher"),
    "alone": lambda r: _mean(r, "alone"),
    "taught": lambda r: _mean(r, "student"),
    "gain in points": gain,
    "same starting weights, alone": _same_start,
    "gain over those": lambda r: over_same_start(r).words,
    "from scratch": lambda r: _mean(r, "scratch"),
    "gain over scratch": lambda r: points(r.over("scratch"), len(r.seeds)) or "-",
    "taught minus teacher": lambda r: points(r.over("teacher"), len(r.seeds)) or "-",
    "of the teacher": lambda r: f"{r.mean.student / r.mean.teacher:.3f}",
    "McNemar p": _mcnemar,
    "trainings": lambda r: r.runs,
    "test images": lambda r: _number(r.tested, "{:,}"),
    "parameters": lambda r: _both([network.parameters for network in _networks(r)], _count),
    "on disk": lambda r: _both([network.bytes for network in _networks(r)], _size),
    "latency, ms": lambda r: _both([r.latency.teacher, r.latency.student] if r.latency else [], "{:.3g}".format),
    "px": lambda r: _number(r.data.size, "{}"),
    "epochs": lambda r: _both(_by_role(r.epochs), "{:g}".format),
    "training, min": lambda r: _both(_by_role(r.minutes), "{:.3g}".format),
}
SHARED = ("models", "test images", "parameters", "on disk", "px", "epochs")
"""Columns that are told once, above the table, where all rows say the same."""
