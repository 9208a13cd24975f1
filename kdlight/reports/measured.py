"""What was measured of a pair, as sections: for a card's document, its page, and Compare. Class names are in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kdlight.bundle import Card
from kdlight.contracts.reading import ROLES
from kdlight.metrics.coverage import Held, SetCoverage
from kdlight.metrics.ledger import Change, Step
from kdlight.metrics.operating import needed
from kdlight.metrics.robustness import HEADLINES, CorruptionCost
from kdlight.metrics.twins import TwinScores
from kdlight.reports import drift, words
from kdlight.reports.document import Block, Bullets, Cell, Figure, Paragraph, Section, Table

KINDS = {"noise": "Noise", "blur": "Blur", "jpeg": "JPEG", "resample": "Fewer pixels", "gamma": "Gamma"}
MUST_NOT_MISS = "Classes that must not be missed: thresholds and what they cost"
BOTH = tuple(role.capitalize() for role in ROLES)


def named(card: Card) -> dict[str, str]:
    """Class names in words."""
    return {entry.name: entry.words for entry in card.classes}


def by_class(card: Card) -> Iterator[Section]:
    """Sensitivity and specificity of each class."""
    teacher, student = (card.metrics.of(role) for role in ROLES)
    if not teacher.recall:
        return
    heads = ("", "n", *(f"{what}\n{role}" for what in ("Sensitivity", "Specificity") for role in ROLES))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            entry.words,
            str(teacher.counts.get(entry.name, "-")),
            *(Figure(report.recall.get(entry.name)) for report in (teacher, student)),
            *(Figure(report.specificity.get(entry.name)) for report in (teacher, student)),
        )
        for entry in card.classes
    )
    yield Section("Each class", (Table(heads, rows),), folded=True)


def leak(twins: TwinScores | None) -> list[str]:
    """The leak meter: the score with and without test images that the training has all but seen, in sentences."""
    if twins is None:
        return []
    if not twins.n:
        return [f"None of {twins.of} test images is a near-twin of a training image."]
    return [f"{twins.n} of {twins.of} test images are near-twins of training images."] + [
        f"{role.capitalize()}: balanced accuracy with near-twins {words.interval(score.with_twin)}, without "
        f"{words.interval(score.without_twin)}; a random split would have claimed {words.score(score.at_random)}."
        for role, score in twins.models.items()
        if score.at_random is not None
    ]


def robustness(costs: Sequence[CorruptionCost] | None) -> list[str]:
    """What the two corruptions that a pair is known by cost each model, in sentences."""
    named_ones = [(HEADLINES[key], one) for one in costs or () if (key := (one.kind, one.severity)) in HEADLINES]
    return [
        f"{name}, on {one.n} test images: teacher {_points(one.teacher)}, student {_points(one.student)} points of "
        f"balanced accuracy; {loser(one)}."
        for name, one in named_ones
    ]


def _points(change: object) -> Figure:
    return Figure(change, "points")  # type: ignore[arg-type]


def loser(cost: CorruptionCost) -> str:
    """Which model loses more, where the interval of the gap tells."""
    if cost.gap is not None and (cost.gap.below_zero or cost.gap.above_zero):
        return f"the {'student' if cost.gap.below_zero else 'teacher'} loses more"
    return "neither is shown to lose more"


def corruptions(card: Card) -> Iterator[Section]:
    costs = card.metrics.corruptions
    if not costs:
        return
    about = (
        "Change of balanced accuracy in points, with 95 % intervals. Severity 2 is noise of 8 of 255 gray levels, a "
        "blur of 1 pixel in 128, JPEG of quality 40, half the pixels across, or a gamma of 1.5; 1 is milder, 3 worse."
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            KINDS.get(one.kind, one.kind),
            words.number(one.severity),
            *(Figure(change, "points") for change in (one.teacher, one.student, one.gap)),
        )
        for one in costs
    )
    table = Table(("", "Severity", *BOTH, "Student less teacher"), rows, row_heads=2)
    title = "What noise, blur, JPEG, fewer pixels and gamma cost"
    yield Section(title, (Paragraph(about), table), folded=True)


def operating(card: Card, sensitivity: float | None = None) -> Iterator[Section]:
    """The thresholds of a sensitivity, else of each class's own, and what they gave on the test images."""
    if not card.operating:
        return
    about = (
        "A class is not ruled out where a model's calibrated probability of it is at or above the threshold, which was "
        "chosen on calibration images. Both rates are those of the test images, with 95 % intervals."
    )
    heads = ("", "Model", "Sensitivity asked", "Threshold", "Sensitivity", "Specificity")
    table = Table(heads, tuple(_operating_rows(card, sensitivity)), row_heads=2)
    yield Section(MUST_NOT_MISS, (Paragraph(about), table), folded=True)


def _operating_rows(card: Card, sensitivity: float | None) -> Iterator[tuple[Cell, ...]]:
    for name, points in (card.operating or {}).items():
        for role in ROLES:
            point = points.at(role, sensitivity)
            head = (named(card)[name], role.capitalize(), words.percent(point.aim))
            if point.threshold is None:
                few = f"none: {needed(point.aim)} calibration images are needed, {points.n} were there"
                yield (*head, few, "not promised", "not promised")
            else:
                threshold = f"{words.number(100 * point.threshold, 2)} %"
                yield (*head, threshold, Figure(point.sensitivity), Figure(point.specificity))


def subgroups(card: Card) -> Iterator[Section]:
    """Balanced accuracy, and sensitivity for what must not be missed, by sex, age and the like."""
    rows: list[tuple[Cell, ...]] = []
    for column, values in (card.metrics.subgroups or {}).items():
        for value, part in values.items():
            scores = (Figure(part.teacher), Figure(part.student), Figure(part.change, "points"))
            rows.append((f"{column}: {value}", str(part.n), *scores))
            for name in part.teacher_found:
                found = (Figure(part.teacher_found[name]), Figure(part.student_found.get(name)))
                rows.append((f"finds {named(card)[name]}", "", *found, ""))
    if rows:
        heads = ("", "n", *BOTH, "Student less teacher, points")
        yield Section("Groups of people and devices", (Table(heads, tuple(rows)),), folded=True)


def ledger(card: Card) -> Iterator[Section]:
    """What was lost and gained from each model to the next; an alarm is never folded away."""
    for step in card.metrics.ledger.steps if card.metrics.ledger else ():
        yield Section(f"What changed from {step.before} to {step.after}", tuple(_step(step, named(card))))


def _step(step: Step, names: Mapping[str, str]) -> Iterator[Block]:
    counts = step.all.counts
    for name in step.alarms:
        change = step.classes[name]
        yield Paragraph(
            f"{names[name]}, which must not be missed, lost recall beyond chance: {change.before} of {change.n} were "
            f"right, {change.after} are.",
            strong=True,
        )
    quiet = "" if step.alarms else " No class that must not be missed lost recall beyond chance."
    yield Paragraph(
        f"{step.changed} of {step.all.n} answers change: {counts.first_only} right ones are lost, "
        f"{counts.second_only} gained.{quiet}"
    )
    if step.changed:
        rows = [_change(names[name], change) for name, change in step.classes.items()]
        heads = ("", "n", "Right before", "Lost", "Gained", "Right after", "p (McNemar, Holm)")
        yield Table(heads, (*rows, _change("all", step.all)))


def _change(name: str, change: Change) -> tuple[Cell, ...]:
    counts = change.counts
    figures = (change.n, change.before, counts.first_only, counts.second_only, change.after)
    return (name, *map(str, figures), words.p_value(change.adjusted).removeprefix("= "))


def sets(card: Card) -> Iterator[Section]:
    """How often the prediction sets that a reading shows hold the truth."""
    kind = card.conformal.kind
    both = [
        of_kind for role in ROLES for of_kind in (card.metrics.coverage or {}).get(role, ()) if of_kind.kind == kind
    ]
    if len(both) != len(ROLES):
        return
    by = "each class" if kind.startswith("class") else "all images"
    about = f"Sets that are to hold the truth in {words.percent(card.level)} of {by}, counted on the test images."
    rows = [
        (named(card)[name], *_held([one.classes[name] for one in both]))
        for name in both[0].classes
        if name in both[1].classes
    ]
    rows.append(("all", *_held([one.all for one in both])))
    size = [f"{role} {one.size:.1f}" for role, one in zip(ROLES, both, strict=True) if one.size is not None]
    blocks = (Paragraph(about), *broken(card, both), Table(("", "n", *BOTH), tuple(rows)))
    yield Section("Prediction sets", (*blocks, Paragraph(f"Classes in a set on average: {', '.join(size)}.")))


def broken(card: Card, both: Sequence[SetCoverage]) -> Iterator[Block]:
    """In which classes the promise is broken."""
    for role, one in zip(ROLES, both, strict=True):
        of = {**{named(card)[name]: held for name, held in one.classes.items()}, "all images": one.all}
        if names := [name for name, held in of.items() if held.broken]:
            yield Paragraph(f"The {role}'s promise is broken for {words.listed(names)}, beyond chance.", strong=True)


def _held(both: Sequence[Held]) -> tuple[Cell, ...]:
    marks = [
        "" if held.promised and not held.broken else ", broken" if held.promised else ", no promise" for held in both
    ]
    shares = [f"{Figure(held.share, 'percent')}{mark}" for held, mark in zip(both, marks, strict=True)]
    return (str(both[0].n), *shares)


def look_alike(card: Card) -> Iterator[Section]:
    """Whether both models look at the same places."""
    found = card.metrics.look_alike
    if found is None:
        return
    lines = (
        f"Rank correlation of both maps, mean over {found.n} images: {Figure(found.rank_correlation)}.",
        f"Of the strongest fifth of the places in common: {Figure(found.overlap, 'percent')}; by chance 20 %.",
        f"Correlation of how far the answers and how far the maps are apart: {Figure(found.gaps)}.",
        f"Images with a map without contrast, which are not counted: {found.flat}.",
    )
    yield Section("Do both look at the same places", (Bullets(lines),), folded=True)


def maps(card: Card) -> Iterator[Section]:
    """How often heat maps pass, by method."""
    if not card.maps:
        return
    rows = tuple(
        (
            one.method,
            role.capitalize(),
            Figure(one.passed[role].maps, "percent", one.tested),
            Figure(one.passed[role].random, "percent", one.passed[role].random_n),
        )
        for one in card.maps
        for role in ROLES
        if role in one.passed
    )
    about = (
        "A heat map that fails what maps of random weights do not reach is gray; how often maps pass on test images."
    )
    table = Table(("Method", "Model", "Maps that pass", "Maps of random weights that pass"), rows, row_heads=2)
    yield Section("Heat maps", (Paragraph(about), table), folded=True)


def belonging(card: Card) -> Iterator[Section]:
    """How often images that do not belong are withheld, and the bundle's own."""
    kinds = card.belonging.kinds if card.belonging else ()
    if not kinds:
        return
    own = [one for one in kinds if one.kind == "own"]
    said = [f"Of its own unseen images {Figure(one.share, 'percent', one.n)} are withheld, wrongly." for one in own]
    rows = tuple((one.kind, Figure(one.share, "percent", one.n)) for one in kinds if one.kind != "own")
    if card.belonging is not None and card.belonging.drift is not None:
        said += ["Its own test images:", *drift.sentences(card.belonging.drift)]
    about = "An image that is unlike the training images is withheld before any class is told."
    blocks = (Paragraph(" ".join([about, *said])), Table(("Images that do not belong", "Withheld"), rows))
    yield Section("Which images are withheld", blocks, folded=True)


def triage(card: Card) -> Iterator[Section]:
    """What a threshold would do, for the risks that people ask for."""
    if card.triage is None:
        return
    lines = []
    for risk in (0.05, 0.1):
        threshold = card.triage.threshold(risk)
        what = f"At most {words.percent(risk)} wrong among the answers without a person"
        if threshold is None:
            lines.append(f"{what}: not provable with {card.triage.n} calibration images; every image is a person's.")
            continue
        tally = next(one for one in card.triage.tallies if one.threshold == threshold)
        lines.append(
            f"{what}: from a probability of {words.number(threshold)} on; of {card.triage.n} calibration images the "
            f"student answers {tally.student} alone, both together {tally.teacher}."
        )
    yield Section("Triage", (Bullets(tuple(lines)),), folded=True)
