"""docs/results.md: every number from a record, every row with the command that makes it again, nothing for a gap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdlight.config import Recipe
from kdlight.results.command import of as command_of
from kdlight.results.records import Record, recipes

SETS = ("brain_mri", "ham7", "busi3", "covid_ct", "lc_lung3")
"""The columns that are always there; sets that only a record names follow."""
TRIAL = "kdlight-synthetic"
"""Drawn shapes: nothing is to be learned from it."""
SYSTEMS = {
    "kdlight": "KDLight",
    "explainable": "Explainable KD",
    "skin": "Skin-cancer KD",
    "dual": "Dual-model weight selection",
    "selection": "Weight selection",
    "gi": "GI dual stream",
    "kd-oct": "KD-OCT",
    "ssd-kd": "SSD-KD",
    "crckd": "CRCKD",
    "efcm": "EFCM",
    "auc-margin": "Deep AUC margin",
    "self-training": "Self-training",
    "acid": "ACID",
}
"""How a recipe's name begins, and the system of the literature that it is built after."""
HEAD = """# Results

Written by `make results` from the records in docs/studies; edit those, not this page.

Every number is **balanced accuracy**, the mean of the recalls of all classes, on a test part that was carved by group
and never trained on; in parentheses the lowest and the highest seed. *Alone* is the same student by the same recipe and
budget without a teacher; where the taught one starts from weights selected out of the trained teacher, it starts from
those that the teacher began with. *From scratch* is that student from random weights, where it was trained too. The
**gain** is taught minus alone, in points (0.01), with its 95 % bootstrap interval over the test's groups; it is in bold
where the interval leaves out 0 over two seeds or more. The interval holds chance in the test images, not chance in the
training: **one seed proves nothing**, and a study has one teacher. An empty cell was not run; a dash was not recorded.
All figures are ours, none is a paper's; where only an abstract could be read, the design is ours too, and the
docstrings say so."""

Cell = Callable[[Record], str]


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """What is compared across sets: a system with its models and its method."""

    system: str
    teacher: str
    student: str
    method: str

    @property
    def words(self) -> str:
        return f"{self.system}, `{self.method}`: {self.teacher} to {self.student}"


def write(records: Iterable[Record], notes: str = "", defaults: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """The page as Markdown. `notes`: words of the people who ran it, put in as they are.

    `defaults`: of each method its own hyper-parameters, which the commands then need not name.
    """
    ordered = sorted(records, key=lambda r: (_row(r), r.data, len(r.seeds)))
    known = {name: recipe for name, recipe in recipes().items() if name != TRIAL}
    sets = [*SETS, *sorted({r.data for r in ordered} - set(SETS))]
    parts = [HEAD, _aim(ordered), "## At a glance", _glance(ordered, known, sets)]
    for name in sets:
        parts += [f"## {name}", _of_set([r for r in ordered if r.data == name], defaults)]
    parts += ["## What was not run", _not_run(ordered, known)]
    return "\n\n".join([*parts, *([notes.strip()] if notes.strip() else [])]) + "\n"


def system(recipe: str) -> str:
    """The system that a recipe is named after; a recipe of none of them is its own."""
    found = [prefix for prefix in SYSTEMS if recipe == prefix or recipe.startswith(f"{prefix}-")]
    return SYSTEMS[max(found, key=len)] if found else recipe


def gain(record: Record) -> str:
    """Points over the student alone with their interval, bold where proven, and said where one seed is all there is."""
    return _points(record.gain, len(record.seeds)) or record.words


def _points(found: Mapping[str, float | None] | None, seeds: int) -> str:
    if found is None or found["low"] is None or found["high"] is None:
        return ""
    value, low, high = (100 * (found[key] or 0.0) for key in ("value", "low", "high"))
    numbers = f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
    if seeds == 1:
        return f"{numbers}, one seed"
    return f"**{numbers}**" if low > 0 else f"{numbers}, not proven"


def _row(record: Record) -> Row:
    models = (record.teacher or "teacher not recorded", record.student or "student not recorded")
    return Row(system(record.recipe), *models, record.fact("method") or "method not recorded")


def _row_of(name: str, recipe: Recipe) -> Row:
    return Row(system(name), recipe.teacher.name, recipe.student.name, recipe.distill.method)


def _glance(records: Sequence[Record], known: Mapping[str, Recipe], sets: Sequence[str]) -> str:
    """One row per system, models and method; in a cell alone to taught, the teacher, the gain, the seeds."""
    rows = sorted({*map(_row, records), *(_row_of(n, r) for n, r in known.items())})

    def cell(row: Row, name: str) -> str:
        return "<br>".join(_short(r) for r in records if r.data == name and _row(r) == row)

    body = [[row.words, *(cell(row, name) for name in sets)] for row in rows]
    return _table(["alone to taught (of the teacher), gain in points", *sets], body)


def _short(record: Record) -> str:
    mean = record.mean
    seeds = "" if len(record.seeds) == 1 else f", {len(record.seeds)} seeds"
    return f"{mean['alone']:.3f} to {mean['student']:.3f} (of {mean['teacher']:.3f})<br>{gain(record)}{seeds}"


COLUMNS: dict[str, Cell] = {
    "teacher": lambda r: _mean(r, "teacher"),
    "alone": lambda r: _mean(r, "alone"),
    "taught": lambda r: _mean(r, "student"),
    "gain in points": gain,
    "from scratch": lambda r: _mean(r, "scratch") if "scratch" in r.mean else "-",
    "gain over scratch": lambda r: _points(r.gain_over_scratch, len(r.seeds)) or "-",
    "of the teacher": lambda r: f"{r.mean['student'] / r.mean['teacher']:.3f}",
    "McNemar p": lambda r: _number(r.fact("mcnemar_p"), "{:.2g}"),
    "seeds": lambda r: str(len(r.seeds)),
    "test images": lambda r: _number(r.fact("images"), "{:,}"),
    "parameters": lambda r: _both(r, "parameters", _count),
    "on disk": lambda r: _both(r, "bytes", _size),
    "latency, ms": lambda r: _both(r, "latency", "{:.3g}".format),
    "px": lambda r: _number(r.fact("size"), "{}"),
    "epochs": lambda r: _both(r, "epochs", "{:g}".format),
    "training, min": lambda r: _both(r, "minutes", "{:.3g}".format),
}


def _of_set(records: Sequence[Record], defaults: Mapping[str, Mapping[str, Any]] | None) -> str:
    """All that was run on one set, then the commands by number."""
    if not records:
        return "Nothing was run on this set."
    rows = [[f"{n}", _row(r).words, *(cell(r) for cell in COLUMNS.values())] for n, r in enumerate(records, 1)]
    commands = [f"{n}. `{command_of(r, defaults)}`" for n, r in enumerate(records, 1)]
    table = _table(["", "system, method: teacher to student", *COLUMNS], rows)
    return "\n\n".join([table, *filter(None, [_machine(records)]), "\n".join(commands)])


def _machine(records: Sequence[Record]) -> str:
    """What the latencies of a set were measured on, once each."""
    said = [
        f"Latency: median of one image of {f['size']} px ({'; '.join(f['of'])}), {f['threads']} of {f['cores']} cores "
        f"of {f['cpu']}."
        for r in records
        if (f := r.fact("latency"))
    ]
    return " ".join(dict.fromkeys(said))


def _aim(records: Sequence[Record]) -> str:
    """How far kdlight_nano is from what was aimed at, counted over the five sets."""
    nano = [r for r in records if r.student == "kdlight_nano" and r.data in SETS and len(r.seeds) > 1]
    near = sorted({r.data for r in nano if r.mean["student"] >= r.mean["teacher"] - 0.01})
    proven = sorted({r.data for r in nano if r.proven})
    ran = sorted({r.data for r in nano})
    return (
        f"Aim: kdlight_nano within 1 point of its teacher, and with a proven gain over the same student alone, each on "
        f"at least four of the five sets. Over two seeds or more it was run on {_listed(ran)}; it is within 1 point on "
        f"{_listed(near)}, and its gain is proven on {_listed(proven)}."
    )


def _not_run(records: Sequence[Record], known: Mapping[str, Recipe]) -> str:
    done = {r.recipe for r in records}
    left = [
        f"- `{name}`: {recipe.teacher.name} to {recipe.student.name} by `{recipe.distill.method}`"
        for name, recipe in known.items()
        if name not in done
    ]
    once = [f"`{r.recipe}` ({r.data})" for r in records if len(r.seeds) == 1]
    lines = ["These recipes run, and no study of them was made:", "\n".join(left)] if left else []
    lines += [f"With one seed only, which proves nothing: {', '.join(once)}."] if once else []
    return "\n\n".join(lines) or "Every shipped recipe has a study of two seeds or more."


def _mean(record: Record, model: str) -> str:
    """Mean over the seeds, and how far they lie apart where they do."""
    scores = [row[model] for row in record.seeds]
    spread = f" ({min(scores):.3f} to {max(scores):.3f})" if len(set(scores)) > 1 else ""
    return f"{record.mean[model]:.3f}{spread}"


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


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join(names)})" if names else "none"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
