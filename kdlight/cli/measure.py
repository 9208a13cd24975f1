"""Commands that measure a bundle: on labelled data, against its own golden cases, and by the clock."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from kdlight.cli.frame import Answer, BundleFolder, Json, UsageError, answers, table
from kdlight.cli.opinion import open_bundle
from kdlight.cli.progress import counted

DECODED = (512, 1024)
"""Sides of the decoded images that the whole way of one image is timed with, besides the network's own."""


class Benchmark(StrEnum):
    """What can be timed."""

    latency = "latency"
    explain = "explain"
    batch = "batch"
    training = "training"


@answers
def evaluate(
    bundle: BundleFolder,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images, MedMNIST .npz, or CSV of paths.")],
    split: Annotated[str, typer.Option(help="Split to measure; all for data without splits.")] = "test",
    mirrored: Annotated[bool, typer.Option("--mirrored", help="Average each picture with its mirror image.")] = False,
    as_json: Json = False,
) -> Answer:
    """Measure teacher and student on labelled data, each number with its 95 % interval."""
    from kdlight import pipeline

    opened = open_bundle(bundle)
    with counted("Evaluating") as progress:
        found = pipeline.evaluate(opened, data, split, progress=progress, mirrored=mirrored)
    return Answer(found, _evaluation(found))


@answers
def verify(bundle: BundleFolder, as_json: Json = False) -> Answer:
    """Check a bundle's checksums, then ask both models its golden cases again."""
    from kdlight import golden

    opened = open_bundle(bundle)
    found = {"bundle": opened.card.id, "sha256": opened.sha256, **golden.check(opened)}
    fault = None if found["ok"] else f"{opened.card.id}: the golden cases came out differently; get the bundle again."
    return Answer(found, fault=fault)


@answers
def benchmark(
    what: Annotated[Benchmark, typer.Argument(help="What to time.")],
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", help="A bundle's folder or id; of training, DATA or nothing.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=32, max=1024, help="Side of the input in pixels: 224; of training, 128.")
    ] = None,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Timed runs: 50 or more; of explain, of the package (1), ours five each.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads: 1; of explain and batch, every core.")
    ] = None,
    image: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Of explain: an image; repeatable.")] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Of explain: images to hold the fast way against the whole."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of explain: MobileNetV2 weights in the teacher's place.")
    ] = None,
    decoded: Annotated[
        list[int] | None,
        typer.Option(
            metavar="PX", min=32, max=8192, help="Of latency: side of a decoded image, repeatable (SIZE, 512, 1024)."
        ),
    ] = None,
    files: Annotated[int, typer.Option(min=50, help="Of batch: DICOM files to draw and read.")] = 200,
    as_json: Json = False,
) -> Answer:
    """Time student against teacher, heat maps against grad-cam's, folders and training against loops."""
    from kdlight import batch, inference

    if what is Benchmark.training:
        return _epochs(bundle, size or 128, runs or 5, threads or 1)
    if bundle is None:
        raise UsageError(f"benchmark {what.value} needs a bundle; give its folder, or an id of kdlight list bundles.")
    opened, size = open_bundle(bundle), size or 224
    with counted("Timing") as progress:
        if what is Benchmark.explain:
            many: dict[str, Any] = {"weights": weights, "likeness": batch.listed(images or ())}
            found = inference.explain_speed(opened, image or (), size, runs or 1, threads, 0, progress, **many)
        elif what is Benchmark.batch:
            found = batch.throughput(opened, files, threads, progress=progress)
        else:
            sides = list(dict.fromkeys(decoded or (size, *DECODED)))
            found = inference.latency(opened, size, threads or 1, runs or 50, progress=progress, images=sides)
            return Answer(found, _latency(found))
    return Answer(found, _timing(found))


def _latency(found: dict[str, Any]) -> Any:
    """Every row with its ratio to the student's measured the same way, what arithmetic allows, and the engines."""
    from rich.console import Group

    rows = [(row["name"], row["p50_ms"], row["p95_ms"], found["ratios"][row["name"]]) for row in found["rows"]]
    tried, bound = found["engines"], found["bound"]
    engines = [
        (row["name"], row["p50_ms"], row["difference"], "yes" if row["within"] else "no") for row in tried["candidates"]
    ]
    words = (
        f"Bound at {bound['peak_gmacs']:.3g} G multiply-adds a second: teacher {bound['teacher_ms']:.3g} ms, "
        f"student {bound['student_ms']:.3g} ms. Chosen for the student: {tried['chosen']}."
    )
    header = ("the student's engines", "p50 ms", "difference", f"within {tried['parity']:.0e}")
    return Group(table(("", "p50 ms", "p95 ms", "x student"), rows), table(header, engines), words)


def _epochs(data: Path | None, size: int, rounds: int, threads: int) -> Answer:
    """The times of training, with each target and whether it is reached."""
    from rich.console import Group

    from kdlight import training_benchmark

    with counted("Timing") as progress:
        found = training_benchmark.epochs(data, size=size, rounds=rounds, threads=threads, progress=progress)
    goals = [(goal["name"], goal["value"], goal["target"], goal["reached"]) for goal in found["targets"]]
    return Answer(found, Group(_timing(found), table(("target", "measured", "wanted", "reached"), goals)))


def _evaluation(found: dict[str, Any]) -> Any:
    roles = [role for role in ("teacher", "student") if role in found]
    numbers = [name for name, value in found[roles[0]].items() if isinstance(value, (int, float, dict))]
    flat = [name for name in numbers if _is_estimate(found[roles[0]][name])]
    return table(("", *roles), [(name, *(found[role][name] for role in roles)) for name in flat])


def _is_estimate(value: Any) -> bool:
    return not isinstance(value, dict) or "value" in value


def _timing(found: dict[str, Any]) -> Any:
    from rich.console import Group

    rows = [(row["name"], row["p50_ms"], row["p95_ms"]) for row in found["rows"]]
    words = (
        f"{found['candidate']} is {found['ratio']:.3g} x as fast as {found['baseline']} (median, {found['runs']} runs)."
    )
    return Group(table(("", "p50 ms", "p95 ms"), rows), words)
