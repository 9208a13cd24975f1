"""Commands that measure by the clock: baseline and candidate in turns in one run, medians and their ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kdlight.cli.frame import Answer, BundleFolder, Json, answers, table
from kdlight.cli.opinion import open_bundle
from kdlight.cli.progress import counted

DECODED = (512, 1024)
"""Sides of the decoded images that the whole way of one image is timed with, besides the network's own."""

Size = Annotated[int, typer.Option(min=32, max=1024, help="Side of the networks' input in pixels.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
EveryCore = Annotated[int | None, typer.Option(min=1, help="CPU threads; every core by default.")]


@answers
def latency(
    bundle: BundleFolder,
    size: Size = 224,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs; 50 or more.")] = 50,
    threads: Threads = 1,
    decoded: Annotated[
        list[int] | None,
        typer.Option(metavar="PX", min=32, max=8192, help="Side of a decoded image; repeatable (SIZE, 512, 1024)."),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the medians at the bundle's own size on its card; needs quiet.")
    ] = False,
    as_json: Json = False,
) -> Answer:
    """One image: student against teacher, alone and from a decoded image to probabilities and heat maps."""
    from kdlight import inference

    opened = open_bundle(bundle)
    size = opened.spec.size if record else size
    sides = list(dict.fromkeys(decoded or (size, *DECODED)))
    measure = inference.quiet_latency if record else inference.latency
    with counted("Timing") as progress:
        found = measure(opened, size, threads, runs, progress=progress, images=sides)
    if record:
        inference.keep(opened, found)
    return Answer(found, _latency(found))


@answers
def explain(
    bundle: BundleFolder,
    image: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="An image; repeatable.")] = None,
    images: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Images to hold each Score-CAM against the whole one.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="MobileNetV2 weights in the teacher's place.")
    ] = None,
    size: Size = 224,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of the package; each of ours runs five times.")] = 1,
    threads: EveryCore = None,
    as_json: Json = False,
) -> Answer:
    """Heat maps: kdlight's Score-CAM against the grad-cam package's, and the quick ones."""
    from kdlight import batch, inference

    opened, many = open_bundle(bundle), batch.listed(images or ())
    with counted("Timing") as progress:
        found = inference.explain_speed(
            opened, image or (), size, runs, threads, progress=progress, weights=weights, likeness=many
        )
    return Answer(found, _timing(found))


@answers
def batch(
    bundle: BundleFolder,
    files: Annotated[int, typer.Option(min=50, help="DICOM files to draw and read.")] = 200,
    threads: EveryCore = None,
    as_json: Json = False,
) -> Answer:
    """A folder of DICOM files: overlapped against one by one and a loop by hand, and the memory held."""
    from kdlight import batch as folders

    opened = open_bundle(bundle)
    with counted("Timing") as progress:
        found = folders.throughput(opened, files, threads, progress=progress)
    return Answer(found, _timing(found))


@answers
def training(
    data: Annotated[Path | None, typer.Argument(metavar="DATA", help="A labelled set; drawn images if none.")] = None,
    size: Size = 128,
    runs: Annotated[int, typer.Option(min=1, help="Rounds of all ways.")] = 5,
    threads: Threads = 1,
    as_json: Json = False,
) -> Answer:
    """An epoch with kept answers against one without a teacher and a plain loop, each target beside it."""
    from rich.console import Group

    from kdlight import training_benchmark

    with counted("Timing") as progress:
        found = training_benchmark.epochs(data, size=size, rounds=runs, threads=threads, progress=progress)
    goals = [(goal["name"], goal["value"], goal["target"], goal["reached"]) for goal in found["targets"]]
    return Answer(found, Group(_timing(found), table(("target", "measured", "wanted", "reached"), goals)))


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


def _timing(found: dict[str, Any]) -> Any:
    from rich.console import Group

    rows = [(row["name"], row["p50_ms"], row["p95_ms"]) for row in found["rows"]]
    words = (
        f"{found['candidate']} is {found['ratio']:.3g} x as fast as {found['baseline']} (median, {found['runs']} runs)."
    )
    return Group(table(("", "p50 ms", "p95 ms"), rows), words)
