"""A bundle on a person's own labeled cases, each read as in use, held against their bar; and again on later ones."""

from __future__ import annotations

import datetime
import hashlib
import platform
from collections.abc import Callable, Collection, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kdlight.bundle import Bundle
from kdlight.contracts.bar import Bar
from kdlight.contracts.reading import Opinion, Withheld
from kdlight.data import Dataset
from kdlight.data.dataset import Item
from kdlight.data.walk import in_threads
from kdlight.images import Image
from kdlight.inference.eligibility import IneligibleError
from kdlight.inference.evaluate import opened
from kdlight.inference.predictor import Predictor, Prepared
from kdlight.trust import monitoring
from kdlight.trust.acceptance import Answered, Case, default_bar, held_against
from kdlight.trust.monitoring import Result, ResultError

BATCH = 16
Progress = Callable[[int, int], None]


class CasesError(ValueError):
    """Cases that cannot be counted as they are."""


def accept(
    bundle: Bundle,
    data: str | Path | Dataset,
    bar: Bar | None = None,
    split: str | None = None,
    progress: Progress | None = None,
) -> Result:
    """Hold a bundle against a bar on labeled cases; without one, against `default_bar`.

    split: None takes the test part where there is one, else val, else all. Raises BarError, CasesError; DataError where
    the set does not fit or a file cannot be read.
    """
    bar = bar or default_bar(bundle.card)
    held_against((), bar, bundle.card)  # a bar that does not fit is refused before any case is read
    name, part = opened(bundle, data, split)
    cases, repeated = _cases(bundle, part, (), progress)
    lines = held_against(cases, bar, bundle.card)
    found = {"bar": bar, "lines": lines, "verdict": monitoring.verdict_of(lines), "cases": cases}
    return _record(bundle, part, name, repeated=repeated, **found)


def go_on(
    bundle: Bundle,
    data: str | Path | Dataset,
    since: Result,
    split: str | None = None,
    progress: Progress | None = None,
) -> Result:
    """Look at later cases of an accepted bundle: whether to stop using it. Cases that were counted are skipped.

    Raises ResultError where the record is of another bundle, CasesError where no case is new; else as `accept`.
    """
    if since.bundle_sha256 != bundle.sha256:
        raise ResultError(
            f"The record is of {since.bundle_name}, version {since.bundle_version} ({since.bundle_sha256[:12]}), not "
            f"of this bundle ({bundle.sha256[:12]}). Give that bundle, or accept this one first."
        )
    start = since.watches or monitoring.watches(since.bar, bundle.card)
    name, part = opened(bundle, data, split)
    cases, repeated = _cases(bundle, part, since.known, progress)
    if not cases:
        raise CasesError(f"All {repeated} files were counted before; new cases were expected. Name their folder.")
    watches = monitoring.looked(start, since.looks, cases, since.bar)
    verdict = "stop" if any(watch.stop for watch in watches) else "go on"
    chain = {
        "before": since.sha256,
        "began": since.began or since.verdict,
        "seen": sorted(since.known),
        "looks": since.looks + 1,
        "watches": watches,
    }
    return _record(bundle, part, name, repeated=repeated, bar=since.bar, verdict=verdict, cases=cases, **chain)


def _record(bundle: Bundle, part: Dataset, split: str, **found: Any) -> Result:
    packages = ("kdlight", "torch", "onnxruntime", "scipy")
    return Result(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), **{name: version(name) for name in packages}},
        bundle=bundle.card.id,
        bundle_name=bundle.card.name,
        bundle_version=bundle.card.version,
        bundle_sha256=bundle.sha256,
        data=Path(part.source.name).name,
        split=split,
        bar_sha256=hashlib.sha256(found["bar"].to_toml().encode()).hexdigest(),
        **found,
    ).sealed()


def _cases(
    bundle: Bundle, part: Dataset, known: Collection[str], progress: Progress | None
) -> tuple[tuple[Case, ...], int]:
    """The new cases, each once, and how many files were there twice or are known. Raises CasesError, DataError."""
    units = {group: number for number, group in enumerate(dict.fromkeys(part.groups.tolist()))}
    truths: dict[str, str] = {}
    cases: list[Case] = []
    predictor = Predictor(bundle)
    for item, image, answers in _readings(predictor, part, progress):
        truth = part.classes[item.label]
        case = Case(sha256=image.sha256, frame=image.frame, unit=units[item.group], truth=truth)
        if truths.setdefault(case.key, truth) != truth:
            raise CasesError(
                f"{item.ref} is labeled {truth}, and the same file {truths[case.key]}; one class was expected of each "
                "image. Take one of the two away."
            )
        if case.key not in known:
            cases.append(case.replace(**{one.role: _answered(one, truth) for one in answers}))
    once = {case.key: case for case in cases}
    return tuple(once.values()), len(part) - len(once)


def _readings(
    predictor: Predictor, part: Dataset, progress: Progress | None
) -> Iterator[tuple[Item, Image, tuple[Opinion, ...]]]:
    """Every image in order with both opinions, none where it was withheld."""

    def ready(item: Item) -> tuple[Image, Prepared | None]:
        image = part.source.image(item.ref)
        try:
            return image, predictor.prepare(image)
        except IneligibleError:
            return image, None

    for start in range(0, len(part), BATCH):
        items = part.items[start : start + BATCH]
        images = list(in_threads(ready, items))
        readings = iter(predictor.read_all([prepared for _, prepared in images if prepared is not None]))
        for item, (image, prepared) in zip(items, images, strict=True):
            reading = next(readings) if prepared is not None else None
            opinions = () if reading is None or isinstance(reading, Withheld) else reading.opinions
            yield item, image, opinions
        if progress is not None:
            progress(start + len(items), len(part))


def _answered(opinion: Opinion, truth: str) -> Answered:
    return Answered(
        answer=opinion.prediction,
        probability=opinion.confidence,
        possible=tuple(name for name in opinion.probabilities if opinion.holds_possible(name)),
        covered=truth in opinion.prediction_set,
    )
