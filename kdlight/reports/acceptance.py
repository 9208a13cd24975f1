"""The record of an acceptance, or of a later look, as a document: the verdict, every line, and what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kdlight.data.notes import had_a_part
from kdlight.metrics import Interval
from kdlight.reports.document import Block, Bullets, Document, Paragraph, Section, Table
from kdlight.trust.acceptance import Criterion, Line
from kdlight.trust.monitoring import Result, Verdict, Watch

VERDICTS: dict[Verdict, str] = {
    "accepted": "Accepted: every line of the bar is passed.",
    "rejected": "Rejected: a line of the bar is failed.",
    "undecided": "Undecided: too few cases for a line of the bar.",
    "go on": "Go on: no line of the bar is shown to be kept no longer.",
    "stop": "Stop using this pair: a line of the bar is no longer kept.",
}
LIMITS: dict[Criterion, str] = {"calibration": "gap at most {}", "difference": "loss at most {}"}
"""How a bar is told; at least so much, else."""
NOT_SAID = (
    "It holds for cases like these. Another device, place or mix of patients is another question. Lines over all cases "
    "speak of the mix of classes in your set: where you gathered more of the ill than you meet, so do they.",
    "Cases that the pair was made from or chosen on prove nothing; nobody but you can know that there are none.",
    "The digest binds this page to one JSON record and that record to files, bar and bundle. Whoever changes a record "
    "can make a new digest: keep the one that you signed.",
)
Words = Callable[[str], str]


def document(result: Result, words: Words = str) -> Document:
    """words: of a class, for people."""
    kind = "Later look at" if result.watches else "Acceptance of"
    return Document(
        title=f"{kind} {result.bundle_name}",
        subtitle=f"Version {result.bundle_version}, {result.created}, {len(result.cases)} cases of {result.data}",
        sections=(
            Section("Verdict", tuple(_verdict(result))),
            Section("The bar, line by line", tuple(_lines(result, words))),
            Section("What this rests on", (Bullets(tuple(_proof(result))),), folded=True),
            Section("What it does not say", (Bullets(NOT_SAID),), folded=True),
        ),
    )


def _verdict(result: Result) -> Iterator[Block]:
    yield Paragraph(VERDICTS[result.verdict], strong=True)
    if result.began not in (None, "accepted"):
        yield Paragraph(f"This pair was never accepted: the first record says {result.began}.", strong=True)
    told = f"{len(result.cases)} cases of {result.data}, split {result.split}."
    if result.withheld:
        told += (
            f" {result.withheld} of them were withheld by the bundle: neither right nor wrong, since no class was told "
            "and a person reads them. They count against the line answered."
        )
    if result.repeated:
        told += f" {result.repeated} files were there twice or counted before; none counts again."
    yield Paragraph(f"{told} {had_a_part(result.split)}".strip())


def _lines(result: Result, words: Words) -> Iterator[Block]:
    bar, level = result.bar, f"{result.bar.confidence:.0%}"
    if result.watches:
        yield Table(
            ("", "bar", "cases", "right", "evidence", "stop at"), tuple(_watch(w, words) for w in result.watches)
        )
        yield Paragraph(
            f"Look {result.looks} at later cases. Evidence is 1 at first, and reaches the mark in "
            f"{1 - bar.confidence:.0%} of such series at most while every line is kept, however often one looks."
        )
        return
    heads = ("", "bar", "found", "withheld", "answer", "cases needed")
    yield Table(heads, tuple(_line(line, words) for line in result.lines))
    looks = "one look" if bar.looks == 1 else f"{bar.looks} planned looks together"
    found = "the answer" if bar.rule == "answer" else "the answer or not ruled out"
    yield Paragraph(
        f"In brackets the exact one-sided bounds that decided, {level} for {looks}: passed where they clear the bar, "
        "failed where they lie beyond it (then over all lines together), else too few cases. Of each patient or group "
        f"one image counts. A class is found where it is {found}."
    )


def _name(criterion: str, of: str | None, model: str | None, words: Words) -> str:
    return f"{criterion}{f', {model}' if model else ''}: {words(of) if of else 'all cases'}"


def _line(line: Line, words: Words) -> tuple[str, ...]:
    needed = "" if line.outcome != "too few" else "no number would do" if line.more is None else f"{line.more} more"
    found = "no case" if line.value is None else f"{Interval(line.value, line.low, line.high):.3f}, n = {line.n}"
    limit = LIMITS.get(line.criterion, "at least {}").format(f"{line.bar:g}")
    name = _name(line.criterion, line.of, line.model, words)
    return name, limit, found, str(line.withheld), line.outcome, needed


def _watch(watch: Watch, words: Words) -> tuple[str, ...]:
    shown = f"{watch.evidence:.3g}" if watch.evidence < 1e6 else "over a million"
    figures = (f"at least {watch.bar:g}", str(watch.n), str(watch.right), shown, f"{watch.limit:g}")
    return _name(watch.criterion, watch.of, watch.model, words), *figures


def _proof(result: Result) -> Iterator[str]:
    yield f"This record: sha256 {result.sha256}"
    if result.before is not None:
        yield f"The record before it: sha256 {result.before}"
    yield f"Bundle {result.bundle}: sha256 {result.bundle_sha256}"
    yield f"The bar: sha256 {result.bar_sha256}"
    yield f"The sha256 of each of the {len(result.cases)} case files stands in the record, with what both models said."
    yield ", ".join(f"{name} {version}" for name, version in result.versions.items())
