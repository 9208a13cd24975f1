"""Compare: what the student forgot and gained, and whether the prediction sets keep their promise."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from kdlight.bundle import Bundle
from kdlight.bundle.card import Metrics
from kdlight.contracts.reading import ROLES
from kdlight.metrics.conformal import SetKind
from kdlight.metrics.coverage import Held
from kdlight.metrics.ledger import Change, Step
from kdlight.metrics.subgroups import Subgroups
from kdlight.ui import charts, theme, words
from kdlight.ui.markup import Markup, put

KINDS: dict[SetKind, str] = {
    "class_lac": "by class, LAC",
    "lac": "of all images, LAC",
    "class_aps": "by class, APS",
    "aps": "of all images, APS",
}
OLDER = (
    "This card is from before it counted what the student lost and how often its sets hold the truth; "
    "measure on a labeled set to see both."
)


def draw(bundle: Bundle, metrics: Metrics) -> None:
    """Both, each with its verdict first and its table one click away."""
    if metrics.ledger is None and metrics.coverage is None:
        theme.line(OLDER)
        return
    if metrics.ledger is not None:
        for step in metrics.ledger.steps:
            _step(bundle, step)
    if metrics.subgroups:
        _people(bundle, metrics.subgroups)
    if metrics.coverage is not None:
        _sets(bundle, metrics)


def _people(bundle: Bundle, subgroups: Subgroups) -> None:
    """Balanced accuracy, and sensitivity for what must not be missed, by sex, age and the like."""
    st.subheader("By groups of people and devices", anchor=False)
    heads = [theme.head(), theme.head("n"), theme.head("Teacher", "teacher"), theme.head("Student", "student")]
    rows = []
    for column, values in subgroups.items():
        for value, part in values.items():
            change = "" if part.change is None else f"{part.change.points:+.1f}"
            pair = [words.interval(part.teacher), words.interval(part.student)]
            rows.append([f"{column}: {value}", str(part.n), *pair, change])
            for name in part.teacher_found:
                found = [words.interval(of[name]) for of in (part.teacher_found, part.student_found)]
                rows.append([f"finds {bundle.words(name)}", "", *found, ""])
    put(theme.table([*heads, theme.head("Student less teacher, points")], rows))


def _step(bundle: Bundle, step: Step) -> None:
    if not step.changed and (step.before, step.after) != ROLES:
        theme.line(f"{step.before} to {step.after}: no answer changes.")
        return
    counts = step.all.counts
    st.subheader(f"From {step.before} to {step.after}: {step.changed} of {step.all.n} answers change", anchor=False)
    for name in step.alarms:
        change = step.classes[name]
        st.error(
            f"{words.plain(bundle.words(name))}, which must not be missed, lost recall beyond chance: "
            f"{change.before} of {change.n} were right, {change.after} are.",
            icon=":material/warning:",
        )
    quiet = "" if step.alarms else " No class that must not be missed lost recall beyond chance."
    theme.line(f"Lost {counts.first_only} right answers, gained {counts.second_only}.{quiet}")
    flows = {bundle.words(name): change.counts for name, change in step.classes.items()}
    st.altair_chart(
        charts.flow(flows, step.before, step.after), alt="Right and wrong answers before and after, by class"
    )
    with st.expander("Every class, and every group of images"):
        theme.line(
            "p: McNemar's exact test over groups, raised by Holm over the classes or over the values of a column."
        )
        put(_ledger_table(bundle, step))


def _ledger_table(bundle: Bundle, step: Step) -> Markup:
    heads = map(theme.head, ("", "n", "right before", "lost", "gained", "right after", "p"))
    rows = [_row(bundle.words(name), change) for name, change in step.classes.items()]
    rows += [
        _row(f"{column} {value}", change) for column, values in step.columns.items() for value, change in values.items()
    ]
    return theme.table([*heads], [*rows, _row("all", step.all)])


def _row(name: str, change: Change) -> list[str]:
    counts = change.counts
    figures = (change.n, change.before, counts.first_only, counts.second_only, change.after)
    return [name, *map(str, figures), words.p_value(change.adjusted)]


def _sets(bundle: Bundle, metrics: Metrics) -> None:
    assert metrics.coverage is not None
    by_kind = {role: {one.kind: one for one in metrics.coverage[role]} for role in ROLES}
    kinds = [kind for kind in KINDS if all(kind in sets for sets in by_kind.values())]
    level = words.percent(bundle.card.level)
    st.subheader(f"Sets promised to hold the truth in {level} of images", anchor=False)
    kind = st.segmented_control("Kind of sets", kinds, format_func=KINDS.__getitem__, default=kinds[0], required=True)
    both = [by_kind[role][kind] for role in ROLES]
    heads = [theme.head(), theme.head("n"), *(theme.head(role.capitalize(), role) for role in ROLES)]
    names = list(both[0].classes)
    rows = [[bundle.words(name), *_held([one.classes[name] for one in both])] for name in names]
    rows.append(["all images", *_held([one.all for one in both])])
    sizes = ", ".join(f"{role} {one.size:.1f}" for role, one in zip(ROLES, both, strict=True) if one.size is not None)
    theme.line(" ".join(_verdicts(bundle, metrics, kind)))
    put(theme.table(heads, rows))
    theme.line(f"Classes in a set on average: {sizes}.")


def _held(both: list[Held]) -> Iterator[str]:
    yield str(both[0].n)
    for held in both:
        mark = ", no promise" if not held.promised else ", broken" if held.broken else ""
        yield f"{words.interval(held.share)}{mark}"


def _verdicts(bundle: Bundle, metrics: Metrics, kind: SetKind) -> Iterator[str]:
    """In which classes the promise is broken, and for which there is none."""
    assert metrics.coverage is not None
    for role in ROLES:
        (sets,) = (one for one in metrics.coverage[role] if one.kind == kind)
        of = {**{bundle.words(name): held for name, held in sets.classes.items()}, "all images": sets.all}
        broken = [name for name, held in of.items() if held.broken]
        if broken:
            yield f"The {role}'s promise is broken for {words.listed(broken)}, beyond chance."
        without = [name for name, held in of.items() if not held.promised]
        if without and kind.startswith("class"):
            yield f"Too few calibration images for a promise of the {role}: {words.listed(without)}."
