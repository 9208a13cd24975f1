"""One set's part of the results page: every study on it, best first, what they share, and how to make them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kdlight.metrics import Interval
from kdlight.results import same_start
from kdlight.results.command import of as command_of
from kdlight.results.records import Record
from kdlight.results.rows import borrowed, cut, row_of, told_apart

BY_CHANCE = 0.025
"""Share of 95 % intervals that lie above a true gain of 0."""
Cell = Callable[[Record], str]


def of_set(records: Sequence[Record], options: Mapping[str, Mapping[str, Any]]) -> str:
    """All that was run on one set, then the commands by number. `options`: the defaults of methods."""
    if not records:
        return "Nothing was run on this set."
    ordered = sorted(records, key=lambda r: (len(r.seeds) == 1, -r.mean["student"]))
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


def gain(record: Record) -> str:
    """Points over the student alone with their interval, bold where that lies above 0; said where it is of one seed."""
    return points(record.gain, len(record.seeds)) or record.words


def points(found: Mapping[str, float | None] | None, seeds: int) -> str:
    """A difference of 0 to 1 in points with its interval; empty where there is none."""
    interval = Interval.of(found)
    if interval is None or interval.low is None:
        return ""
    numbers = f"{interval.points:+.1f}"
    if seeds == 1:
        return f"{numbers}, one seed"
    if interval.above_zero:
        return f"**{numbers}**"
    return f"{numbers}, {'a loss' if interval.below_zero else 'not told from 0'}"


def best(records: Sequence[Record]) -> Record | None:
    """Of several studies on one set the one with the largest proven gain; None where none is proven."""
    proven = [r for r in records if same_start.proven(r)]
    if len(records) < 2 or not proven:
        return None
    return max(proven, key=lambda r: (same_start.gain(r) or {})["value"] or 0.0)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _name(record: Record, others: Sequence[Record]) -> str:
    row, pair = row_of(record), borrowed(record)
    apart = told_apart(record, [other for other in others if row_of(other) == row])
    more = [said for said in (f"on {pair}'s pair and schedule" if pair else "", apart, cut(record)) if said]
    return row.words(record.fact("paper")) + (f" ({', '.join(more)})" if more else "")


def _shared(values: Mapping[str, str]) -> str:
    told = [f"{name} {value}" for name, value in values.items() if value != "-"]
    return f"The same in all rows: {'; '.join(told)}." if told else ""


def _said(records: Sequence[Record]) -> str:
    """What the table has no columns for: pairs that learned together, and how many gains chance would give."""
    lines = [_pair(number, r) for number, r in enumerate(records, 1) if "partner" in r.mean]
    tried = sum(len(r.seeds) > 1 for r in records)
    if tried > 1:
        lines.append(
            f"{tried} studies of two seeds or more are on this set: of as many methods that give nothing, "
            f"{BY_CHANCE * tried:.2g} would have an interval above 0 by chance."
        )
    return " ".join(lines)


def _pair(number: int, record: Record) -> str:
    """Both models of a pair that learned together."""
    seeds = len(record.seeds)
    told = [
        f"{words} {record.mean[name]:.3f} ({points(record.gains.get(f'gain_of_{name}'), seeds) or 'no interval'})"
        for name, words in (("partner", "the partner has"), ("ensemble", "the mean of both"))
    ]
    return (
        f"Row {number} is two models that learned together, of which the bundle ships the first, here the taught one; "
        f"{', '.join(told)}, in points over the student alone."
    )


def _machine(records: Sequence[Record]) -> str:
    """What the latencies of a set were measured on, once each."""
    said = [
        f"Latency: median of one image of {f['size']} px ({'; '.join(f['of'])}), {f['threads']} of {f['cores']} cores "
        f"of {f['cpu']}."
        for r in records
        if (f := r.fact("latency"))
    ]
    return " ".join(dict.fromkeys(said))


def _mean(record: Record, model: str) -> str:
    """Mean over the seeds, and how far they lie apart where they do."""
    if model not in record.mean:
        return "-"
    scores = [row[model] for row in record.seeds]
    spread = f" ({min(scores):.3f} to {max(scores):.3f})" if len(set(scores)) > 1 else ""
    return f"{record.mean[model]:.3f}{spread}"


def _same_start(record: Record) -> str:
    found = same_start.score(record)
    return "-" if found is None else f"{found:.3f}"


def _mcnemar(record: Record) -> str:
    """Over all seeds; an older record has the first seed's only."""
    pooled, first = record.fact("mcnemar_pooled_p"), record.fact("mcnemar_p")
    if pooled is None and first is not None and len(record.seeds) > 1:
        return f"{first:.2g} (first seed)"
    return _number(first if pooled is None else pooled, "{:.2g}")


def _both(record: Record, name: str, form: Callable[[Any], str]) -> str:
    """Teacher / student."""
    found = [record.fact(name, role) for role in ("teacher", "student")]
    return "-" if found == [None, None] else " / ".join("-" if value is None else form(value) for value in found)


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
    "gain over those": same_start.words,
    "from scratch": lambda r: _mean(r, "scratch"),
    "gain over scratch": lambda r: points(r.gains.get("gain_over_scratch"), len(r.seeds)) or "-",
    "taught minus teacher": lambda r: points(r.gains.get("gap_to_teacher"), len(r.seeds)) or "-",
    "of the teacher": lambda r: f"{r.mean['student'] / r.mean['teacher']:.3f}",
    "McNemar p": _mcnemar,
    "seeds": lambda r: str(len(r.seeds)),
    "test images": lambda r: _number(r.fact("images"), "{:,}"),
    "parameters": lambda r: _both(r, "parameters", _count),
    "on disk": lambda r: _both(r, "bytes", _size),
    "latency, ms": lambda r: _both(r, "latency", "{:.3g}".format),
    "px": lambda r: _number(r.fact("size"), "{}"),
    "epochs": lambda r: _both(r, "epochs", "{:g}".format),
    "training, min": lambda r: _both(r, "minutes", "{:.3g}".format),
}
SHARED = ("models", "test images", "parameters", "on disk", "px", "epochs")
"""Columns that are told once, above the table, where all rows say the same."""
