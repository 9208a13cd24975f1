"""docs/results.md: every number from a record, every row with the command that makes it again, nothing for a gap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdlight.bundle.study_record import SAME_WEIGHTS
from kdlight.contracts.recipe import Recipe
from kdlight.metrics.trainings import not_worse
from kdlight.studies import StudyRecord
from kdlight.studies.gains import over_same_start, together, with_baseline
from kdlight.studies.records import shipped_recipes
from tools.results.rows import Row, borrowed, cut, hindrance, order, row_of, row_of_recipe, system, told_apart
from tools.results.sets import best, gain, of_set, table

SETS = ("brain_mri", "ham7", "busi3", "covid_ct", "lc_lung3")
"""The columns that are always there; sets that only a record names follow."""
TRIAL = "kdlight-synthetic"
"""Drawn shapes: nothing is to be learned from it."""
MARGIN = 0.02
"""What a student may lose against its teacher and still be called not worse."""
START = "kdlight-general"
"""First weights for other recipes; a study of it would answer no question."""
HEAD = """# Results

Written by `make docs` from the records in docs/studies; edit those, not this page.

Every number is **balanced accuracy**, the mean of the recalls of all classes, on a test part that was carved by group
and never trained on; in parentheses the lowest and the highest seed. *Alone* is the same student by the same recipe
and budget without a teacher; where the taught one starts from weights selected out of the trained teacher, it starts
from those that the teacher began with. *From scratch* is that student from random weights, where it was trained too.
The **gain** is taught minus alone, in points (0.01), with its 95 % interval. Over two seeds or more that holds chance
in the test images (a bootstrap over the test's groups, in which an image that several seeds answered is drawn with all
of them) and chance in the training (the deviation over seeds), by Student's t with Satterthwaite's degrees of freedom;
with two or three seeds it is wide. It is in bold where the interval lies above 0, and a loss where it lies below;
*taught minus teacher*, what the small model lost, is told in the same way. Where the taught student begins with other
weights than the one alone, its gain is in part theirs. So beside it stands the gain over **the same student from the
same starting weights** without its teacher, and only that is called **proven**: over two seeds or more, with an
interval above 0 and a p below 0.05 after adjusting for all comparisons of this page (Benjamini-Hochberg). *On these
test images* gives the interval without chance in the training. Where that student was trained in another study, the
answers are not paired, and the difference has no interval. **One seed proves nothing**, and a study has one teacher,
whose own chance no interval holds. The exact *McNemar* test pools the answers of all seeds as if each were of an image
of its own; they are not, so its p is too small and decides nothing here.

An empty cell was not run; a dash was not recorded. All figures are ours, none is a paper's; where only an abstract
could be read, the design is ours too, and the docstrings say so."""
STARTED = {
    "general first": "A student that is *general first* begins with weights that were distilled on all sets together "
    "before; alone it begins by selection from those that the teacher began with.",
    "published weights first": "With *published weights first* the student begins, taught and alone, with weights that "
    "others published.",
}
"""Of a row's start what the page says once."""
LARGER = (
    "A row that names its *px* had more of them than its recipe asks for, teacher and students alike, so its teacher "
    "is another one."
)


@dataclass(frozen=True, slots=True)
class Method:
    """What the page says of a method besides its results."""

    paper: str
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Its own hyper-parameters, which a command then need not name."""


def write(records: Iterable[StudyRecord], notes: str = "", methods: Mapping[str, Method] | None = None) -> str:
    """The page as Markdown. `notes`: words of the people who ran it, put in as they are. `methods`: by name."""
    methods = methods or {}
    given = list(records)
    found = sorted(
        together(with_baseline(record, given) for record in given), key=lambda r: (row_of(r), r.set_name, len(r.seeds))
    )
    known = {name: recipe for name, recipe in shipped_recipes().items() if name not in (TRIAL, START)}
    sets = [*SETS, *sorted({r.set_name for r in found} - set(SETS))]
    options = {name: method.options for name, method in methods.items()}
    parts = [HEAD, _aim(found), "## At a glance", *_glance(found, known, sets)]
    for name in sets:
        parts += [f"## {name}", of_set([r for r in found if r.set_name == name], options)]
    parts += ["## The methods", _methods(found, methods)] if methods else []
    parts += ["## What was not run", _not_run(found, known)]
    return "\n\n".join([*parts, *([notes.strip()] if notes.strip() else [])]) + "\n"


def _glance(records: Sequence[StudyRecord], known: Mapping[str, Recipe], sets: Sequence[str]) -> list[str]:
    """The systems, then the methods of none on a system's pair."""
    by_row: dict[Row, list[StudyRecord]] = {row_of_recipe(name, recipe): [] for name, recipe in known.items()}
    for record in records:
        by_row.setdefault(row_of(record), []).append(record)
    marked = {id(best([r for r in records if r.set_name == name])) for name in sets}
    systems = sorted((r for r in by_row if not r.general), key=lambda r: (not by_row[r], order(r)))
    said = [
        "In a cell: alone to taught (of the teacher), the gain in points, that over the same student from the same "
        "starting weights, the seeds. Where that one is not named it is the student alone itself (random, selected or "
        "published starting weights), or it was not run: the tables below say which. *Largest* is the set's largest "
        "proven gain where several studies are on it; that it beats the next is not proven by that. The mean gain is "
        "over the sets that a row was run on, and so compares only rows of the same sets.",
        *(STARTED[start] for start in STARTED if any(row.start == start for row in by_row)),
        *([LARGER] if any(row.px for row in by_row) else []),
    ]
    parts = [" ".join(said), "### The systems", _rows(systems, by_row, sets, marked)]
    if barred := [r for r in records if hindrance(r)]:
        parts.append(_barred(barred))
    pairs = sorted({pair for r in records if (pair := borrowed(r))})
    if pairs:
        parts.append(f"† The row's method on the pair and schedule of {' and '.join(pairs)}, not on its own.")
    for pair, teacher, student in sorted({(r.pair, r.teacher, r.student) for r in by_row if r.general}):
        same = [r for r in by_row if (r.pair, r.teacher, r.student) == (pair, teacher, student) and by_row[r]]
        rows = sorted(same, key=lambda r: (r.general, -len(_by_set(by_row[r])), -_mean_gain(by_row[r])))
        parts += [
            f"### Other methods on {pair}'s pair, {teacher} to {student}",
            f"{pair}'s models, schedule and images; only the method is another, with its own defaults where the "
            f"command names no other. {pair} itself comes first.",
            _rows(rows, by_row, sets, marked, models=False),
        ]
    return parts


def _rows(
    rows: Sequence[Row],
    by_row: Mapping[Row, Sequence[StudyRecord]],
    sets: Sequence[str],
    marked: set[int],
    models: bool = True,
) -> str:
    body = []
    for row in rows:
        found = by_row[row]
        paper = next((r.method.paper for r in found), None)
        cells = [
            "<br>".join(_short(r, peers, id(r) in marked) for r in peers)
            for peers in ([r for r in found if r.set_name == name] for name in sets)
        ]
        count = len(_by_set(found))
        mean = f"{100 * _mean_gain(found):+.1f}, {count} set{'s' if count > 1 else ''}" if count else ""
        body.append([row.words(paper, pair=models) + (f": {row.models}" if models else ""), *cells, mean])
    return table(["", *sets, "mean gain"], body)


def _short(record: StudyRecord, peers: Sequence[StudyRecord], largest: bool) -> str:
    if words := hindrance(record):
        return words
    mean, seeds, apart = record.mean, len(record.seeds), told_apart(record, peers)
    said = [
        gain(record),
        *_over_same_start(record),
        *([record.runs] if seeds > 1 else []),
        *(["largest"] if largest else []),
    ]
    mark, less = " †" if borrowed(record) else "", cut(record)
    scores = f"{mean.alone:.3f} to {mean.student:.3f} (of {mean.teacher:.3f}){mark}"
    return "<br>".join([*([f"{apart}:"] if apart else []), scores, ", ".join(said), *([f"({less})"] if less else [])])


def _barred(records: Sequence[StudyRecord]) -> str:
    """What would reproduce the rows that reproduce nothing here."""
    commands = {
        f"- {row_of(r).words()}, {row_of(r).models}: `kdlight study {r.recipe} -o data.path=DATA --seeds 3`"
        for r in records
        if r.recipe in shipped_recipes()
    }
    said = (
        "Where a cell says *not reproducible here*, the way was run from end to end, but with a teacher that is not "
        "the published one; its figures stand in the set's table for what they are. With a network timm fetches the "
        "published weights, and these commands run the systems as their recipes have them:"
    )
    return "\n\n".join([said, "\n".join(sorted(commands))])


def _over_same_start(record: StudyRecord) -> list[str]:
    """The gain over the same student from the same starting weights, where that is another one and was trained."""
    other = record.init not in SAME_WEIGHTS and record.over_same_start is not None
    return [f"over the same start {over_same_start(record).words}"] if other else []


def _by_set(records: Sequence[StudyRecord]) -> dict[str, list[float]]:
    """The gains of a row, 0 to 1, by set; none of a study that reproduces nothing."""
    found: dict[str, list[float]] = {}
    for record in records:
        if record.gain_over_alone and not hindrance(record):
            found.setdefault(record.set_name, []).append(record.gain_over_alone.value)
    return found


def _mean_gain(records: Sequence[StudyRecord]) -> float:
    """Over sets, 0 to 1; of several studies on one set their mean."""
    means = [sum(gains) / len(gains) for gains in _by_set(records).values()]
    return sum(means) / len(means) if means else 0.0


def _aim(records: Sequence[StudyRecord]) -> str:
    """How far kdlight_nano is from what was aimed at, counted over the five sets: by one row, and by any."""
    nano = [r for r in records if _is_nano(r) and r.set_name in SETS and len(r.seeds) > 1 and r.taught]
    rows = {row: _reached([r for r in nano if row_of(r) == row]) for row in sorted({row_of(r) for r in nano})}
    said = (
        "Aim: kdlight_nano not worse than its teacher by more than 2 points (lower bound of the interval), and with a "
        "proven gain over the same student from the same starting weights, each on at least four of the five sets. "
    )
    if not rows:
        return f"{said}It was run on none over two seeds or more."
    row = max(rows, key=lambda r: (min(len(rows[r][1]), len(rows[r][2])), len(rows[r][1]) + len(rows[r][2])))
    ran, near, proven, below = (_listed(names) for names in rows[row])
    said += (
        f"Nearest to it, over two seeds or more, is {row.words()}: run on {ran}; not worse by more than 2 points on "
        f"{near}, below its teacher beyond chance on {below}; its gain proven on {proven}."
    )
    ran, near, proven, _ = (_listed(names) for names in _reached(nano))
    if len(rows) > 1:
        said += (
            f" Taking for each set whichever of {len(rows)} rows did best on its test, which is kind to them: run on "
            f"{ran}; not worse by more than 2 points on {near}; proven on {proven}."
        )
    return said


def _is_nano(record: StudyRecord) -> bool:
    return (record.models.student.architecture or "").startswith("kdlight_nano")


def _reached(records: Sequence[StudyRecord]) -> tuple[list[str], ...]:
    """Sets that were run; where the student is not more than MARGIN below its teacher, beyond chance; where its gain is
    proven; and where the interval of its gap to the teacher lies below 0."""
    near = {r.set_name for r in records if not_worse(r.over("teacher"), MARGIN)}
    below = {r.set_name for r in records if (gap := r.over("teacher")) and gap.below_zero}
    proven = {r.set_name for r in records if over_same_start(r).proven}
    return sorted({r.set_name for r in records}), sorted(near), sorted(proven), sorted(below)


def _methods(records: Sequence[StudyRecord], methods: Mapping[str, Method]) -> str:
    used = {r.method.name for r in records}
    return "\n".join(f"- `{name}` ({m.paper}): {m.summary}" for name, m in methods.items() if name in used)


def _not_run(records: Sequence[StudyRecord], known: Mapping[str, Recipe]) -> str:
    done = {r.recipe for r in records}
    elsewhere = {(row_of(r).system, r.method.name): pair for r in records if (pair := borrowed(r))}
    left = []
    for name, recipe in known.items():
        pair = elsewhere.get((system(name), recipe.distill.method))
        more = f"; the method was run on {pair}'s pair and schedule" if pair else ""
        if name not in done:
            models = f"{recipe.teacher.name} to {recipe.student.name}"
            left.append(f"- `{name}`: {models} by `{recipe.distill.method}`{more}")
    once = sum(len(r.seeds) == 1 for r in records)
    lines = ["These recipes run, and no study of them was made:", "\n".join(left)] if left else []
    lines += [f"{once} of {len(records)} studies have one seed only, which proves nothing."] if once else []
    return "\n\n".join(lines) or "Every shipped recipe has a study of two seeds or more."


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join(names)})" if names else "none"
