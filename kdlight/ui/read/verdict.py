"""The verdict: one line above the pictures, the weightiest first, and below it one quiet line of trust."""

from __future__ import annotations

from collections.abc import Iterable

from kdlight.bundle import Bundle
from kdlight.contracts.reading import ROLES, Opinion, Reading, Verdict
from kdlight.reports.pair import caveats
from kdlight.ui import words
from kdlight.ui.markup import joined, put, write

STYLES = {
    Verdict.WITHHELD: "alarm",
    Verdict.DISAGREE: "differ",
    Verdict.UNDECIDED: "differ",
    Verdict.CANNOT_RULE_OUT: "alarm",
    Verdict.AGREE: "",
}


def draw(reading: Reading, bundle: Bundle, caution: str | None = None) -> None:
    """Both lines. `caution`: why no answer to this scan may be used, whatever the models say."""
    style = f"kd-verdict {STYLES[decided(reading, caution)]}".strip()
    above = write('<div class="{}" role="status">{}</div>', style, sentence(reading, bundle, caution))
    put(above + write('<div class="kd-line kd-trust">{}</div>', joined(trust(reading, bundle), " ")))


def decided(reading: Reading, caution: str | None = None) -> Verdict:
    """The reading's verdict; withheld where a caution stands against the scan itself."""
    return reading.verdict if caution is None else Verdict.WITHHELD


def sentence(reading: Reading, bundle: Bundle, caution: str | None = None) -> str:
    """The verdict in words, with what must not be missed and is left open."""
    teacher, student = (bundle.words(opinion.prediction) for opinion in reading.opinions)
    open_to = left_open(reading, bundle)
    match decided(reading, caution):
        case Verdict.WITHHELD:
            why = caution or "read because you asked for it"
            return _joined(f"Do not use either answer: {why}.", *reading.eligibility.reasons)
        case Verdict.DISAGREE:
            return _joined(f"Do not use either answer: teacher {teacher}, student {student}.", open_to)
        case Verdict.UNDECIDED:
            sides = "; ".join(f"{opinion.role} {_leaning(opinion, bundle)}" for opinion in reading.opinions)
            return _joined(f"Undecided: {sides}.", open_to)
        case Verdict.CANNOT_RULE_OUT:
            return f"{open_to} Both answer {teacher}."
        case Verdict.AGREE:
            return f"They agree: {teacher}."


def left_open(reading: Reading, bundle: Bundle) -> str:
    """Cannot rule out at 90 % sensitivity: the classes that must not be missed and are not named beside it anyway."""
    named: set[str] = set()
    if reading.verdict is Verdict.DISAGREE:
        named = {opinion.prediction for opinion in reading.opinions}
    elif reading.verdict is Verdict.UNDECIDED:
        named = {name for opinion in reading.opinions for name in _standing(opinion)}
    classes: dict[str, list[str]] = {}
    for name, roles in reading.not_ruled_out.items():
        if name not in named:
            aim = reading.sensitivity.get(name)
            level = words.percent(reading.level) if aim is None else f"{words.percent(aim)} sensitivity"
            classes.setdefault(level, []).append(bundle.words(name) + (f" ({roles[0]})" if len(roles) == 1 else ""))
    return " ".join(f"Cannot rule out at {level}: {', '.join(of)}." for level, of in classes.items())


def trust(reading: Reading, bundle: Bundle) -> Iterable[str]:
    """What the answers rest on: what holds the pair down, its test, and how alike the two maps are."""
    yield from (write("<b>{}</b>", caveat) for caveat in caveats(bundle.card))
    yield belongs(reading.eligibility.distance)
    metrics = bundle.card.metrics
    teacher, student = (words.interval(metrics.of(role).balanced_accuracy) for role in ROLES)
    yield f"Tested on {metrics.n} held-back images: balanced accuracy teacher {teacher}, student {student}."
    for name in sorted(set(bundle.card.operating or ()) - set(reading.sensitivity)):
        yield (
            f"No sensitivity for {bundle.words(name)} is promised: validation has too few such images for the share "
            "asked, so the prediction set decides."
        )
    yield from maps_graded(reading)
    alike = reading.map_likeness
    if alike is not None and not any(o.heat_map is not None and o.heat_map.failed for o in reading.opinions):
        r = alike.rank_correlation
        where = "the same place" if r >= 0.7 else "partly the same place" if r >= 0.3 else "different places"
        shared = words.percent(alike.overlap)
        yield f"Their maps look at {where} (rank correlation {r:.2f}, {shared} of the strongest fifth in common)."


def maps_graded(reading: Reading) -> Iterable[str]:
    """Which model's map failed its test, or that both passed; nothing where neither is known."""
    maps = {o.role: o.heat_map for o in reading.opinions if o.heat_map is not None}
    failed = [role for role, heat in maps.items() if heat.failed]
    if len(failed) == len(ROLES):
        yield "Both maps failed their test and are drawn in gray."
    elif failed:
        yield f"The map of the {failed[0]} failed its test and is drawn in gray."
    elif maps and all(heat.grade is not None and heat.grade.passed for heat in maps.values()):
        yield "Both maps passed their test."


def belongs(distance: float | None) -> str:
    """How far the image lies from the bundle's own, or that the bundle cannot tell."""
    if distance is None:
        return "This bundle does not know what its images look like; it was made before that was learned."
    side = "Like" if distance <= 1 else "Unlike"
    return f"{side} the bundle's own images (distance {distance:.2f} of the largest that belongs)."


def _leaning(opinion: Opinion, bundle: Bundle) -> str:
    """The class a model answers, or the two that it does not tell apart, each with its probability."""
    return " or ".join(f"{bundle.words(n)} {words.percent(opinion.probabilities[n])}" for n in _standing(opinion))


def _standing(opinion: Opinion) -> tuple[str, ...]:
    return opinion.leading[:1] if opinion.decided else opinion.leading


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
