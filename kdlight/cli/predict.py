"""Commands that read scans with a bundle: both models' answers, and where each looked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdlight import storage
from kdlight.cli import trust
from kdlight.cli.output import (
    Answer,
    BundleFolder,
    Frame,
    Json,
    Model,
    UsageError,
    answers,
    counted,
    mistake,
    open_bundle,
    pairs,
    save_overlay,
    table,
)
from kdlight.cli.trust import Fault, FaultOf, Prevalence, Risk
from kdlight.contracts.reading import Reading, Verdict, Withheld
from kdlight.explain import DEFAULT

if TYPE_CHECKING:
    from kdlight.bundle import Bundle
    from kdlight.contracts.reading import HeatMap
    from kdlight.images import Image
    from kdlight.inference import Predictor

ClassName = Annotated[str | None, typer.Option("--class", help="Class the heat map is for; the top class by default.")]
Confirm = Annotated[bool, typer.Option("--anyway", "--confirm", help="Read files that do not belong, too.")]


class Sets(StrEnum):
    """Of prediction sets; see `kdlight.metrics.conformal`."""

    lac = "lac"
    aps = "aps"
    class_lac = "class_lac"
    class_aps = "class_aps"


VERDICTS = {
    Verdict.WITHHELD: "not made for this image: do not use",
    Verdict.DISAGREE: "they disagree: use neither",
    Verdict.UNDECIDED: "undecided",
    Verdict.CANNOT_RULE_OUT: "agree, but a class that must not be missed is not ruled out",
    Verdict.AGREE: "agree",
}


@answers
def predict(
    bundle: BundleFolder,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Image files; a folder is walked.")],
    explain: Annotated[str | None, typer.Option(metavar="METHOD", help="Heat maps too, by this method.")] = None,
    class_name: ClassName = None,
    frame: Frame = 0,
    confirm: Confirm = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write readings and heat maps there.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Of a folder: go on with the readings in --out.")] = False,
    sets: Annotated[
        Sets | None,
        typer.Option(help="Kind of prediction sets; the card's own if none."),
    ] = None,
    prevalence: Prevalence = None,
    triage: Risk = None,
    fault: FaultOf = Fault.wrong,
    as_json: Json = False,
) -> Answer:
    """Both models' reading of each file. One file that is refused does not stop the others.

    An image that is not of the kind that the bundle knows is withheld: it gets the reasons and no class.

    A folder's readings go to DIR/readings.jsonl as they come, one line per file; stopped in any way, --resume goes on.
    """
    from kdlight.inference import Predictor

    if triage is not None:
        return trust.sorting(open_bundle(bundle), files, triage, fault, frame, confirm)
    if resume or any(file.is_dir() for file in files):
        if explain is not None:
            raise UsageError("No heat maps are made of a whole folder; name single files, or leave --explain out.")
        return _batch(bundle, files, out, frame, confirm, resume)
    predictor = Predictor(open_bundle(bundle), sets=sets.value if sets else None)
    stated = trust.prevalences(predictor.bundle, prevalence)
    readings, refused = _readings(predictor, files, out, (explain, class_name, frame, confirm))
    return _answer(predictor.bundle, readings, refused, stated)


@answers
def explain(
    bundle: BundleFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An image file.")],
    out: Annotated[Path, typer.Option(metavar="PNG", help="Where the picture goes: the map over the scan.")],
    method: Annotated[str, typer.Option(help="See kdlight list explainers.")] = DEFAULT,
    model: Annotated[Model, typer.Option(help="Whose map.")] = Model.student,
    class_name: ClassName = None,
    option: Annotated[
        list[str] | None, typer.Option("-o", "--option", metavar="KEY=VALUE", help="Of the method: samples=512.")
    ] = None,
    frame: Frame = 0,
    confirm: Confirm = False,
    grade: Annotated[
        bool | None, typer.Option(help="Measure how far the map can be trusted; by default for fast methods.")
    ] = None,
    as_json: Json = False,
) -> Answer:
    """Where a model looked: a heat map over the scan, and how far it can be trusted."""
    from kdlight.contracts.options import assignment
    from kdlight.inference import Predictor

    options = dict(map(assignment, option or ()))
    predictor, image = Predictor(open_bundle(bundle)), _image(file, frame)
    reading = predictor.read(image, method, class_name, confirm, options=options, graded=grade)
    heat: HeatMap = getattr(reading, model).heat_map
    save_overlay(image, heat, out)
    names = {"bundle": reading.bundle, "model": str(model), "method": heat.method, "class": heat.class_name}
    graded = asdict(heat.grade) if heat.grade else None
    told = {"flat": heat.flat, "note": heat.note, "seconds": heat.seconds, "shape": list(heat.values.shape)}
    grain = {"cells": list(heat.cells), "input_size": heat.input_size, "grain": heat.grain}
    return Answer({**names, **told, "grade": graded, **grain, "out": str(out)})


def _readings(
    predictor: Predictor, files: list[Path], out: Path | None, asked: tuple[str | None, str | None, int, bool]
) -> tuple[list[tuple[Path, Reading | Withheld]], list[dict[str, str]]]:
    """Of every file its reading, or why it was refused; asked: heat map, its class, frame, whether confirmed."""
    explain, class_name, frame, confirm = asked
    readings: list[tuple[Path, Reading | Withheld]] = []
    refused: list[dict[str, str]] = []
    with counted("Reading") as progress:
        for number, file in enumerate(files, start=1):
            try:
                image = _image(file, frame)
                readings.append((file, _read(predictor, image, explain, class_name, confirm)))
                if out is not None:
                    _write(readings[-1][1], image, out)
            except (ValueError, OSError) as error:
                sentence = mistake(error)
                if sentence is None:
                    raise
                refused.append({"file": str(file), "reason": sentence})
            progress(number, len(files))
    return readings, refused


def _batch(bundle: Path, files: list[Path], out: Path | None, frame: int, confirm: bool, resume: bool) -> Answer:
    """Folders, file by file, into `out`; the answer is the counts, with the masks that are no scans."""
    from kdlight import inference

    if out is None:
        raise UsageError("A folder's readings are written as they come; say where with --out DIR.")
    listed = inference.listing(files, without=out)
    with counted("Reading") as progress:
        predictor = inference.Predictor(open_bundle(bundle), 1)
        counts = inference.read_files(predictor, listed.files, out, frame, confirm, resume, progress=progress)
    text, masks = [pairs(counts.model_dump())], len(listed.masks)
    if masks:
        text.append(
            f"{masks} mask(s) beside the images are left out, since they are no scans; name one alone to read it."
        )
    return Answer({**counts.model_dump(), "masks_left_out": masks}, text)


def _read(predictor: Predictor, image: Image, *asked: Any) -> Reading | Withheld:
    """A reading; of an image that does not belong what keeps it from the bundle."""
    from kdlight.inference import IneligibleError

    try:
        return predictor.read(image, *asked)
    except IneligibleError as error:
        if error.withheld is None:
            raise
        return error.withheld


def _image(file: Path, frame: int) -> Image:
    """The file's pixels. Raises ImageError, UsageError where the file cannot be opened at all."""
    from kdlight.images import ImageError, read

    try:
        return read(file, frame)
    except ImageError as error:
        if error.reason != "missing" or file.is_dir():
            raise
        raise UsageError(str(error)) from error


def _write(reading: Reading | Withheld, image: Image, folder: Path) -> None:
    """Files are named after the scan's checksum: its own name may name a person."""
    stem = f"{image.sha256[:16]}-{image.frame}"
    storage.write_json(folder / f"{stem}.json", reading.to_json())
    for opinion in reading.opinions if isinstance(reading, Reading) else ():
        if opinion.heat_map is not None:
            save_overlay(image, opinion.heat_map, folder / f"{stem}-{opinion.role}.png")


def _answer(
    bundle: Bundle,
    readings: list[tuple[Path, Reading | Withheld]],
    refused: list[dict[str, str]],
    stated: Mapping[str, float | None],
) -> Answer:
    """One file gives its Reading; several give them all, with what was refused and why."""
    columns = ("file", "verdict", "model", "answer", "probability", "set", "heat map")
    text = table(columns, [row for file, reading in readings for row in _rows(bundle, file, reading)])
    count = len(readings) + len(refused)
    if count == 1 and refused:
        raise UsageError(refused[0]["reason"])
    if count == 1:
        return Answer(trust.with_facts(bundle, readings[0][1], stated), text)
    payload = {
        "readings": [{"file": str(f), **trust.with_facts(bundle, r, stated)} for f, r in readings],
        "refused": refused,
    }
    reasons = "; ".join(f"{row['file']}: {row['reason']}" for row in refused)
    return Answer(payload, text, f"{len(refused)} of {count} files were not read. {reasons}" if refused else None)


def _rows(bundle: Bundle, file: Path, reading: Reading | Withheld) -> list[tuple[Any, ...]]:
    if isinstance(reading, Withheld):
        return [(file.name, f"withheld: {reason}", *[None] * 5) for reason in reading.eligibility.reasons]
    return [
        (
            file.name,
            VERDICTS[reading.verdict],
            opinion.role,
            _named(bundle, opinion.prediction),
            opinion.confidence,
            [bundle.words(name) for name in opinion.prediction_set],
            opinion.heat_map.note if opinion.heat_map else None,
        )
        for opinion in reading.opinions
    ]


def _named(bundle: Bundle, name: str) -> str:
    """A class in words, with its code behind where that is another word."""
    words = bundle.words(name)
    return words if words.casefold() == name.casefold() else f"{words} ({name})"
