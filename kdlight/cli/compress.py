"""`kdlight compress` and `kdlight export`: a student in fewer bytes or another format, with what that changed."""

from __future__ import annotations

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdlight import bundle as bundles
from kdlight import storage
from kdlight.bundle.speed import Machine
from kdlight.cli.output import Answer, BundleFolder, Json, Threads, UsageError, answers, open_bundle, table
from kdlight.metrics.report import IF_KNOWN, Measured

if TYPE_CHECKING:
    from kdlight.bundle import Bundle
    from kdlight.compress.compare import Comparison
    from kdlight.data import Dataset

Out = Annotated[Path, typer.Option(metavar="DIR", help="A new folder for the result.")]
CALIBRATE = 400
"""Training images that set the ranges of int8, drawn from seed 0."""
PART = 8
"""Images that the quantizer sees at once."""
WARMUPS, RUNS = 10, 50
REPORT = "compress.json"


class Precision(StrEnum):
    """Of the weights."""

    fp16 = "fp16"
    int8 = "int8"


class Format(StrEnum):
    """What can be exported."""

    onnx = "onnx"
    openvino = "openvino"


class Timed(Measured):
    """Bytes and milliseconds of the bundle's own file, `source`, and of the new one, `small`."""

    bytes: dict[str, int | float]
    """Of both, and their ratio."""
    latency: dict[str, Any]
    """Threads, a row for each file, and their ratio."""
    machine: Machine


class Report(Timed):
    """compress.json, beside the fields of a Comparison where there was data to compare both files on."""

    bundle: str
    source_sha256: str
    precision: Precision
    file: str
    calibration: Annotated[dict[str, int | str] | None, IF_KNOWN] = None
    """Images that set int8's ranges, and their split."""
    activation_bits: Annotated[int | None, IF_KNOWN] = None
    data: Annotated[str | None, IF_KNOWN] = None
    split: Annotated[str | None, IF_KNOWN] = None


@answers
def compress(
    bundle: BundleFolder,
    precision: Annotated[Precision, typer.Option(help="fp16 changes no answer; int8 is smaller still.")],
    out: Out,
    data: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Labeled set: sets int8's ranges, counts flipped decisions.")
    ] = None,
    activations: Annotated[int, typer.Option(help="Bits of the activations with int8 weights: 8 or 16.")] = 8,
    threads: Threads = 1,
    as_json: Json = False,
) -> Answer:
    """A bundle with the student in fewer bytes, and what that changes: decisions, probabilities, scores, speed."""
    opened = open_bundle(bundle)
    if precision is Precision.int8 and data is None:
        raise UsageError("int8 needs real images to set its ranges and to count flipped decisions; give --data DATA.")
    _must_be_new(out)
    dataset = _splits(opened, data) if data else None
    with storage.replacing_folder(out) as beside:
        report, compared = _compressed(opened, beside, dataset, precision, activations, threads)
    bundles.load(out)
    payload = {**report.to_json(), **(compared.to_json() if compared else {}), "out": str(out)}
    return Answer(payload, _text(report, compared, out))


@answers
def export(
    bundle: BundleFolder,
    out: Out,
    format_: Annotated[Format, typer.Option("--format", help="onnx, or openvino where it is installed.")] = Format.onnx,
    as_json: Json = False,
) -> Answer:
    """The student alone in a format for other programs, with its parity to the source on the golden inputs."""
    from kdlight.compress import formats
    from kdlight.inference import golden

    opened = open_bundle(bundle)
    _must_be_new(out)
    with storage.replacing_folder(out) as beside:
        parity = formats.parity(opened, formats.FORMATS[format_](opened, beside), golden.inputs(opened))
    files = sorted(path.name for path in out.iterdir())
    payload = {"bundle": opened.card.id, "format": format_, "files": files, "out": str(out), **parity.to_json()}
    fault = None if parity.ok else f"{out}: its answers differ from the source's by {parity.difference:.2g}."
    return Answer(payload, fault=fault)


def _must_be_new(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already; a new folder was expected. Give another --out.")


def _splits(bundle: Bundle, data: Path) -> Dataset:
    """The set with train, val and test; what it lacks is carved as it was when the bundle was trained."""
    from kdlight.contracts.recipe import DataConfig
    from kdlight.data import match_classes
    from kdlight.training import open_set

    recipe = tomllib.loads(bundle.card.distillation.recipe).get("data", {})
    known = {key: recipe[key] for key in ("val", "test", "split_seed") if key in recipe}
    config = DataConfig(path=str(data), modality=bundle.card.modality, **known)
    return match_classes(open_set(config, Path()), bundle.classes)


def _compressed(
    opened: Bundle, beside: Path, dataset: Dataset | None, precision: Precision, activations: int, threads: int
) -> tuple[Report, Comparison | None]:
    """Fill a folder with the bundle and its smaller student, measured and sealed."""
    storage.copy_folder(opened.path, beside)
    int8 = precision is Precision.int8
    small = beside / ("student.int8.onnx" if int8 else "student.onnx")
    if not int8:
        _halve(opened, small)
    report = Report(
        bundle=opened.card.id,
        source_sha256=opened.sha256,
        precision=precision,
        file=small.name,
        calibration=_quantized(opened, small, dataset, activations) if int8 and dataset else None,
        activation_bits=activations if int8 else None,
        data=dataset.split("test").source.name if dataset else None,
        split="test" if dataset else None,
        **dict(_timed(opened, small, threads)),
    )
    compared = _compared(opened, small, dataset, threads) if dataset else None
    _close(beside, report, compared)
    return report, compared


def _halve(bundle: Bundle, path: Path) -> None:
    """Write the student with weights in float16."""
    from kdlight.compress import export_half

    export_half(bundle.model("student"), path, bundle.spec.size)


def _quantized(bundle: Bundle, path: Path, dataset: Dataset, activations: int) -> dict[str, int | str]:
    """Write the int8 file; the ranges of its activations are set on training images."""
    import numpy as np
    import torch

    from kdlight.compress import quantize

    pixels = dataset.split("train").images(bundle.spec)
    chosen = pixels[np.random.default_rng(0).permutation(len(pixels))[:CALIBRATE]]
    parts = [bundle.spec.normalise(part).numpy() for part in torch.split(torch.from_numpy(chosen), PART)]
    quantize(bundle.onnx, path, parts, activations)
    return {"images": len(chosen), "split": "train"}


def _timed(bundle: Bundle, small: Path, threads: int) -> Timed:
    import torch

    from kdlight.benchmark.timer import interleave, machine, row
    from kdlight.inference.engines import OnnxEngine

    files = {"source": bundle.onnx, "small": small}
    size = {name: path.stat().st_size for name, path in files.items()}
    x = torch.rand(1, 3, bundle.spec.size, bundle.spec.size, generator=torch.Generator().manual_seed(0))
    engines = {name: OnnxEngine(path, threads) for name, path in files.items()}
    ways = {name: lambda engine=engine: engine(x) for name, engine in engines.items()}
    rows = [row(name, times).model_dump() for name, times in interleave(ways, RUNS, WARMUPS).items()]
    latency = {"threads": threads, "rows": rows, "ratio": rows[0]["p50_ms"] / rows[1]["p50_ms"]}
    return Timed(bytes={**size, "ratio": size["source"] / size["small"]}, latency=latency, machine=machine())


def _compared(bundle: Bundle, small: Path, dataset: Dataset, threads: int) -> Comparison:
    """Decisions and scores of both files on the test split; flipped images by name."""
    import numpy as np
    import torch

    from kdlight.compress import compare
    from kdlight.inference.engines import OnnxEngine
    from kdlight.inference.evaluate import predict

    part = dataset.split("test")
    pixels = part.images(bundle.spec)

    def probabilities(path: Path) -> np.ndarray:
        engine = OnnxEngine(path, threads)
        temperature = bundle.card.temperature("student")
        return predict(lambda batch: engine(bundle.spec.normalise(torch.from_numpy(batch))), pixels, temperature)

    compared = compare(probabilities(bundle.onnx), probabilities(small), part.labels, part.groups)
    images = tuple(part.items[int(row)].ref for row in compared.flips.images)
    return compared.model_copy(update={"flips": compared.flips.model_copy(update={"images": images})})


def _close(beside: Path, report: Report, compared: Comparison | None) -> None:
    """The report into the folder (it names no image), the card's figures set right, sealed."""
    from kdlight.bundle import Bundle
    from kdlight.inference import golden

    figures = compared.model_dump(mode="json", exclude={"flips": {"images"}}) if compared else {}
    storage.write_json(beside / REPORT, {**report.to_json(), **figures})
    if report.file == "student.onnx":
        card = bundles.read_card(beside)
        card = card.replace(metrics=card.metrics.replace(latency=None))  # it is of the larger file
        golden.bind(Bundle(beside, bundles.write_card(beside, card), ""))
    bundles.seal(beside)


def _text(report: Report, compared: Comparison | None, out: Path) -> list[Any]:
    speed = [row["p50_ms"] for row in report.latency["rows"]]
    rows = [("bytes", report.bytes["source"], report.bytes["small"]), ("p50 ms", *speed)]
    lines = [f"{out / report.file}"]
    if compared:
        scores, flips = compared.balanced_accuracy, compared.flips
        rows.append(("balanced accuracy", scores["source"], scores["small"]))
        lines.append(f"{flips.count} of {compared.n} decisions flipped ({flips.share:.3f}).")
        lines.append(f"Largest change of a probability: {compared.probability_change:.3g}.")
    return [table(("", "source", report.precision), rows), *lines]
