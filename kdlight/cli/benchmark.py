"""Commands that measure by the clock: baseline and candidate interleaved in one run, medians and their ratio."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdlight.cli.output import Answer, BundleFolder, Json, Threads, answers, counted, open_bundle, table

if TYPE_CHECKING:
    from kdlight.benchmark import BatchReport, ExplainReport, TrainingReport

DECODED = (512, 1024)
"""Sides of the decoded images that the whole way of one image is timed with, besides the network's own."""

Size = Annotated[int, typer.Option(min=32, max=1024, help="Side of the networks' input in pixels.")]
EveryCore = Annotated[int | None, typer.Option(min=1, help="CPU threads; every core by default.")]
Runs = Annotated[int, typer.Option(min=1, help="Timed runs of each way.")]


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
    from kdlight import benchmark

    opened = open_bundle(bundle)
    size = opened.spec.size if record else size
    sides = list(dict.fromkeys(decoded or (size, *DECODED)))
    measure = benchmark.quiet_latency if record else benchmark.latency
    with counted("Timing") as progress:
        report = measure(opened, size, threads, runs, progress=progress, images=sides)
    if record:
        benchmark.record(opened, report)
    rows = [(row.name, row.p50_ms, row.p95_ms, report.ratios[row.name]) for row in report.rows]
    text = [table(("", "p50 ms", "p95 ms", "x student"), rows)]
    if bound := report.bound:
        text.append(
            f"Bound at {bound.peak_gmacs:.3g} G multiply-adds a second: teacher {bound.teacher_ms:.3g} ms, "
            f"student {bound.student_ms:.3g} ms."
        )
    return Answer(report, text)


@answers
def explain(
    bundle: BundleFolder,
    image: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="An image, or a folder of them; repeatable.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="MobileNetV2 weights in the teacher's place.")
    ] = None,
    size: Size = 224,
    runs: Annotated[int | None, typer.Option(min=1, help="Timed runs of each way; 5, or one an image.")] = None,
    threads: EveryCore = None,
    as_json: Json = False,
) -> Answer:
    """Heat maps: Score-CAM against the one that tries every mask, and the quick methods."""
    from kdlight import benchmark, inference

    opened, images = open_bundle(bundle), inference.listing(image or ()).files
    with counted("Timing") as progress:
        report = benchmark.explain_speed(opened, images, size, runs, threads, progress, weights)
    return Answer(report, _text(report))


@answers
def batch(
    bundle: BundleFolder,
    files: Annotated[int, typer.Option(min=50, help="DICOM files to draw and read.")] = 200,
    threads: EveryCore = None,
    as_json: Json = False,
) -> Answer:
    """A folder of DICOM files: overlapped against one by one and a loop by hand, and the memory held."""
    from kdlight import benchmark

    opened = open_bundle(bundle)
    with counted("Timing") as progress:
        report = benchmark.throughput(opened, files, threads, progress=progress)
    return Answer(report, _text(report))


@answers
def training(
    data: Annotated[Path | None, typer.Argument(metavar="DATA", help="A labeled set; drawn images if none.")] = None,
    size: Size = 128,
    runs: Runs = 5,
    threads: Threads = 1,
    as_json: Json = False,
) -> Answer:
    """An epoch with cached teacher outputs against one without a teacher and a plain loop, each target beside it."""
    from kdlight import benchmark

    with counted("Timing") as progress:
        report = benchmark.epochs(data, size=size, rounds=runs, threads=threads, progress=progress)
    goals = [(goal.name, goal.value, goal.target, goal.reached) for goal in report.targets]
    return Answer(report, [*_text(report), table(("target", "measured", "wanted", "reached"), goals)])


def _text(report: BatchReport | ExplainReport | TrainingReport) -> list[Any]:
    rows = [(row.name, row.p50_ms, row.p95_ms) for row in report.rows]
    words = f"{report.candidate} is {report.ratio:.3g} x as fast as {report.baseline} (median, {report.runs} runs)."
    return [table(("", "p50 ms", "p95 ms"), rows), words]
