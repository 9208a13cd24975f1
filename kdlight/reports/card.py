"""A bundle's card in plain words: what Library shows, and what `kdlight card` writes as Markdown and as PDF."""

from __future__ import annotations

from collections.abc import Iterator

from kdlight.bundle import Card
from kdlight.contracts.anatomy import BODY_PARTS
from kdlight.contracts.modality import MODALITIES
from kdlight.contracts.reading import ROLES
from kdlight.reports import measured, pair, shortcuts, words
from kdlight.reports.document import Block, Bullets, Document, Paragraph, Section

LEFT_OUT = {
    "mask": "masks",
    "mask-without-image": "masks without an image",
    "frames": "further frames of files",
    "system": "system files",
    "dicomdir": "DICOMDIR files",
    "hidden": "hidden files",
    "not-an-image": "files that are no images",
    "not-listed": "images that the manifest does not list",
    "link": "links",
}
"""What of a set's folder a training did not use, by `kdlight.data.dataset.Reason`."""
NOT_INTENDED = (
    "To guide the care of a patient: this is research and teaching software, not a medical device.",
    "To find anything but {classes}: whatever else an image shows, it is given one of these.",
    "For images of another kind than these: {kinds}.",
)


def document(card: Card) -> Document:
    """All that a card says, each number with its interval or n; what an older card lacks in a line each."""
    return Document(card.name, _subtitle(card), tuple(sections(card)))


def sections(card: Card) -> Iterator[Section]:
    """The whole card, the verdict first."""
    yield Section("Intended use", (*_caveats(card), Paragraph(card.intended_use)))
    yield Section("Not intended", (Bullets(not_intended(card)),))
    yield Section("Performance", tuple(_performance(card)))
    yield from measured.by_class(card)
    yield from measured.ledger(card)
    yield from measured.sets(card)
    yield from details(card)
    if card.metrics.shortcuts:
        yield shortcuts.section(card.metrics.shortcuts, measured.named(card))
    yield from measured.maps(card)
    yield from measured.look_alike(card)
    yield from measured.subgroups(card)
    yield from measured.belonging(card)
    yield from measured.triage(card)
    yield Section("Limits", (Bullets(card.limits),))
    yield Section("Reads", (Bullets(covered(card)),))
    yield Section("Data", (Bullets(tuple(_data(card))),))
    yield Section("License", (Bullets(tuple(_license(card))),))
    yield Section("How it was made", (Bullets(tuple(_making(card))),), folded=True)
    yield from older(card)


def details(card: Card) -> Iterator[Section]:
    """What stands beside the scores in Compare too: near-twins, corrupted images, operating points."""
    lines = (measured.leak(card.metrics.twins), measured.robustness(card.metrics.corruptions))
    if said := tuple(Paragraph(" ".join(one)) for one in lines if one):
        yield Section("How far the scores hold", said)
    yield from measured.corruptions(card)
    yield from measured.operating(card)


def older(card: Card, folded: bool = False) -> Iterator[Section]:
    """What an older card does not say."""
    if lines := lacking(card):
        yield Section("What this card does not say", (Bullets(lines),), folded)


def lacking(card: Card) -> tuple[str, ...]:
    """What an older card does not say, and what tells it, a sentence each; empty for a card that says everything."""
    parts = {
        "near-twins of training images (kdlight data check)": card.metrics.twins,
        "what noise and blur cost (kdlight evaluate --corruptions)": card.metrics.corruptions,
        "what the rim and a marker tell (kdlight evaluate --shortcuts)": card.metrics.shortcuts,
        "whether both look at the same places (kdlight evaluate --look-alike)": card.metrics.look_alike,
        "thresholds of classes that must not be missed (a new training)": card.operating,
        "what its images look like (a new training)": card.belonging,
        "what the student lost and gained (kdlight evaluate --ledger)": card.metrics.ledger,
        "how often prediction sets hold the truth (kdlight evaluate --coverage)": card.metrics.coverage,
        "how often heat maps pass (a new training)": card.maps,
        "thresholds of triage (a new training)": card.triage,
    }
    return tuple(f"This card is older than {name}." for name, part in parts.items() if part is None)


def not_intended(card: Card) -> tuple[str, ...]:
    """What the pair must not be used for, by what it knows."""
    classes = words.listed([entry.words for entry in card.classes])
    kinds = "; ".join(covered(card))
    failed = () if not card.at_chance else ("For anything: a model of it is no better than chance.",)
    return (*failed, *(line.format(classes=classes, kinds=kinds) for line in NOT_INTENDED))


def covered(card: Card) -> tuple[str, ...]:
    """The modalities, body parts and views that are read without asking; where a card names none, any are."""
    known = card.eligibility
    parts, views = [BODY_PARTS[name].words for name in known.body_parts], list(known.views)
    smallest = (f"Size: {known.min_side} x {known.min_side} px or more",) if known.min_side else ()
    return (
        f"Modality: {words.listed([MODALITIES[name].words for name in card.modalities])}",
        f"Body part: {words.listed(parts) if parts else 'any'}",
        f"View: {words.listed(views) if views else 'any'}",
        *smallest,
    )


def _subtitle(card: Card) -> str:
    kind = MODALITIES[card.modality].words
    return f"{kind}. Version {card.version}, made on {card.created}. Weights: {card.licenses.weights}."


def _caveats(card: Card) -> Iterator[Block]:
    yield from (Paragraph(caveat, strong=True) for caveat in pair.caveats(card))


def _performance(card: Card) -> Iterator[Block]:
    metrics = card.metrics
    yield Paragraph(
        f"Measured on {metrics.n} images (split {metrics.split}) that neither model saw in training; 95 % intervals."
    )
    yield pair.performance(card, metrics, metrics.latency)
    if metrics.agreement is not None:
        yield Paragraph(f"Teacher and student give the same answer to {metrics.agreement.points:.0f} % of them.")
    yield Paragraph(pair.gain_sentence(card))
    if (timed := metrics.latency) is not None:
        yield Paragraph(
            f"Times are medians of {timed.runs} on {timed.machine.cpu}, with {timed.threads} of {timed.machine.cores} "
            f"cores, at {timed.size} px."
        )


def _data(card: Card) -> Iterator[str]:
    data = card.data
    left_out = ", ".join(f"{row.count} {LEFT_OUT.get(row.reason, 'other files')}" for row in data.left_out)
    named = {"Source": data.source, "License of the data": data.license, "Kept together": data.group_key}
    for split, by_class in data.counts.items():
        groups = f", {data.groups[split]} groups" if split in data.groups else ""
        classes = ", ".join(f"{measured.named(card).get(name, name)} {n}" for name, n in by_class.items())
        named[split.capitalize()] = f"{sum(by_class.values())} images{groups} ({classes})"
    named["Left out"] = left_out
    yield from (f"{title}: {text}" for title, text in named.items() if text)


def _license(card: Card) -> Iterator[str]:
    licenses = card.licenses
    note = f" ({licenses.weights_note})" if licenses.weights_note else ""
    yield f"Weights: {licenses.weights}{note}"
    if licenses.data:
        yield f"Data: {licenses.data}"


def _making(card: Card) -> Iterator[str]:
    made = card.distillation
    for role, network in zip(ROLES, map(card.network, ROLES), strict=True):
        yield (
            f"{role.capitalize()}: {words.architecture(network.architecture)}, {words.millions(network.parameters)} "
            f"parameters, {words.millions(network.macs)} multiply-adds"
        )
    options = ", ".join(f"{name} {value}" for name, value in made.options.items())
    yield f"Method: {made.method}{f' ({options})' if options else ''}{f', after {made.paper}' if made.paper else ''}"
    if card.origin is not None:
        license_id = f" ({card.origin.license})" if card.origin.license else ""
        yield f"Teacher started from: {card.origin.words}{license_id}"
    if made.init:
        init = words.INITS.get(made.init, made.init)
        yield f"Student started from: {init[:1].lower()}{init[1:]}"
    yield f"Input: {card.input.size} x {card.input.size} px"
    yield ", ".join(f"{name} {version}" for name, version in card.versions.items()) or "Versions not stated"
