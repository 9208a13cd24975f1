"""Commands that read scans with a bundle: both models' answers, and where each looked."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdlight.cli.output import (
    Answer,
    BundleFolder,
    Json,
    UsageError,
    answers,
    counted,
    mistake,
    pairs,
    save_overlay,
    table,
)
from kdlight.explain import DEFAULT
from kdlight.reading import Verdict

if TYPE_CHECKING:
    from kdlight.bundle import Bundle
    from kdlight.images import Image
    from kdlight.reading import HeatMap, Reading

Frame = Annotated[int, typer.Option(min=0, help="Frame of a multi-frame file, from 0.")]
ClassName = Annotated[str | None, typer.Option("--class", help="Class the heat map is for; the top class by default.")]
Confirm = Annotated[bool, typer.Option("--confirm", help="Read files that the bundle was not made for, too.")]

VERDICTS = {
    Verdict.WITHHELD: "not made for this image: do not use",
    Verdict.DISAGREE: "they disagree: use neither",
    Verdict.UNDECIDED: "undecided",
    Verdict.CANNOT_RULE_OUT: "agree, but a class that must not be missed is not ruled out",
    Verdict.AGREE: "agree",
}
"""A reading's verdict in words for a table."""


class Model(StrEnum):
    """Which of the two."""

    teacher = "teacher"
    student = "student"


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
    as_json: Json = False,
) -> Answer:
    """Both models' reading of each file. One file that is refused does not stop the others.

    A folder's readings go to DIR/readings.jsonl as they come, one line per file; stopped in any way, --resume goes on.
    """
    if resume or any(file.is_dir() for file in files):
        return _batch(bundle, files, out, frame, confirm, resume, maps=explain is not None)
    predictor = _predictor(bundle)
    readings: list[tuple[Path, Reading]] = []
    refused: list[dict[str, str]] = []
    with counted("Reading") as progress:
        for number, file in enumerate(files, start=1):
            try:
                readings.append((file, _read(predictor, file, frame, explain, class_name, confirm, out)))
            except (ValueError, OSError) as error:
                refused.append({"file": str(file), "reason": _reason(error)})
            progress(number, len(files))
    return _readings(predictor.bundle, readings, refused, alone=len(files) == 1)


@answers
def explain(
    bundle: BundleFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An image file.")],
    out: Annotated[Path, typer.Option(metavar="PNG", help="Where the picture goes: the map over the scan.")],
    method: Annotated[str, typer.Option(help="See kdlight list explainers.")] = DEFAULT,
    model: Annotated[Model, typer.Option(help="Whose map.")] = Model.student,
    class_name: ClassName = None,
    frame: Frame = 0,
    confirm: Confirm = False,
    as_json: Json = False,
) -> Answer:
    """Where a model looked: a heat map over the scan, and how far it can be trusted."""
    predictor, image = _predictor(bundle), _image(file, frame)
    reading = predictor.read(image, explain=method, class_name=class_name, confirmed=confirm)
    heat: HeatMap = getattr(reading, model).heat_map
    save_overlay(image, heat, out)
    found = {"bundle": reading.bundle, "model": str(model), "method": heat.method, "class": heat.class_name}
    grade = {"flat": heat.flat, "support": str(heat.support), "odds_ratio": heat.odds_ratio, "note": heat.note}
    grade |= {"seconds": heat.seconds, "shape": list(heat.values.shape)}
    grain = {"cells": list(heat.cells), "input_size": heat.input_size, "grain": heat.grain}
    return Answer({**found, **grade, **grain, "out": str(out)})


def open_bundle(path: Path) -> Bundle:
    """A bundle by its folder, or by the id of a shipped one or one in the library."""
    from kdlight import bundle

    listed = {found.name: found for found in bundle.find()}
    if not path.exists() and str(path) not in listed:
        known = ", ".join(sorted(listed)) or "none is listed"
        raise UsageError(f"There is no bundle {path}; a folder, or one of these was expected: {known}.")
    return bundle.load(path if path.exists() else listed[str(path)])


def _batch(
    bundle: Path, files: list[Path], out: Path | None, frame: int, confirm: bool, resume: bool, maps: bool
) -> Answer:
    """Folders, file by file, into `out`; the answer is the counts, with the masks that are no scans."""
    from kdlight import inference

    if out is None:
        raise UsageError("A folder's readings are written as they come; say where with --out DIR.")
    if maps:
        raise UsageError("No heat maps are made of a whole folder; name single files, or leave --explain out.")
    listed = inference.listing(files, without=out)
    with counted("Reading") as progress:
        counts = inference.read_files(
            _predictor(bundle, 1), listed.files, out, frame, confirm, resume, progress=progress
        )
    return _counts({**counts.model_dump(), "masks_left_out": len(listed.masks)})


def _counts(found: dict[str, Any]) -> Answer:
    """The counts of a batch, with a sentence where masks are left out."""
    from rich.console import Group

    said = pairs({name: value for name, value in found.items() if name != "masks_left_out"})
    masks = found["masks_left_out"]
    words = f"{masks} mask(s) beside the images are left out, since they are no scans; name one alone to read it."
    return Answer(found, Group(said, words) if masks else said)


def _predictor(bundle: Path, threads: int | None = None) -> Any:
    from kdlight.inference import Predictor

    return Predictor(open_bundle(bundle), threads)


def _read(
    predictor: Any, file: Path, frame: int, method: str | None, class_name: str | None, confirm: bool, out: Path | None
) -> Reading:
    image = _image(file, frame)
    reading: Reading = predictor.read(image, explain=method, class_name=class_name, confirmed=confirm)
    if out is not None:
        _write(reading, image, out)
    return reading


def _image(file: Path, frame: int) -> Image:
    """The file's pixels. Raises ImageError, UsageError where the file cannot be opened at all."""
    from kdlight.images import ImageError, read

    try:
        return read(file, frame)
    except ImageError as error:
        if error.reason != "missing" or file.is_dir():
            raise
        raise UsageError(str(error)) from error


def _write(reading: Reading, image: Any, folder: Path) -> None:
    """Files are named after the scan's checksum: its own name may name a person."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{image.sha256[:16]}-{image.frame}"
    (folder / f"{stem}.json").write_text(json.dumps(reading.to_json(), indent=1) + "\n", encoding="utf-8")
    for opinion in (reading.teacher, reading.student):
        if opinion.heat_map is not None:
            save_overlay(image, opinion.heat_map, folder / f"{stem}-{opinion.role}.png")


def _readings(
    bundle: Bundle, readings: list[tuple[Path, Reading]], refused: list[dict[str, str]], alone: bool
) -> Answer:
    """One file gives its Reading; several give them all, with what was refused and why."""
    if alone and refused:
        raise UsageError(refused[0]["reason"])
    if alone:
        return Answer(readings[0][1].to_json(), _words(bundle, readings))
    payload = {"readings": [{"file": str(f), **r.to_json()} for f, r in readings], "refused": refused}
    reasons = "; ".join(f"{row['file']}: {row['reason']}" for row in refused)
    fault = f"{len(refused)} of {len(readings) + len(refused)} files were not read. {reasons}" if refused else None
    return Answer(payload, _words(bundle, readings), fault)


def _words(bundle: Bundle, readings: list[tuple[Path, Reading]]) -> Any:
    columns = ("file", "verdict", "model", "answer", "probability", "set", "heat map")
    return table(columns, [row for file, reading in readings for row in _rows(bundle, file, reading)])


def _rows(bundle: Bundle, file: Path, reading: Reading) -> list[tuple[Any, ...]]:
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
    said = bundle.words(name)
    return said if said.casefold() == name.casefold() else f"{said} ({name})"


def _reason(error: ValueError | OSError) -> str:
    """The sentence for a file that was not read. A fault of the program is no such thing and goes on up."""
    sentence = mistake(error)
    if sentence is None:
        raise error
    return sentence
