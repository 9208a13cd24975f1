"""`kdlight compress` and `kdlight export`: a student in fewer bytes or another format, with what that changed."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdlight.cli.output import Answer, BundleFolder, Json, UsageError, answers, table, words
from kdlight.cli.predict import open_bundle

if TYPE_CHECKING:
    import numpy as np

    from kdlight.bundle import Bundle
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


@answers
def compress(
    bundle: BundleFolder,
    precision: Annotated[Precision, typer.Option(help="fp16 changes no answer; int8 is smaller still.")],
    out: Out,
    data: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Labelled set: sets int8's ranges, counts flipped decisions.")
    ] = None,
    activations: Annotated[int, typer.Option(help="Bits of the activations with int8 weights: 8 or 16.")] = 8,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of both files.")] = 1,
    as_json: Json = False,
) -> Answer:
    """A bundle with the student in fewer bytes, and what that changes: decisions, probabilities, scores, speed."""
    opened = open_bundle(bundle)
    if precision is Precision.int8 and data is None:
        raise UsageError("int8 needs real images to set its ranges and to count flipped decisions; give --data DATA.")
    _must_be_new(out)
    dataset = _splits(opened, data) if data else None
    beside = out.with_name(f"{out.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(opened.path, beside)
    small = beside / "student.onnx"
    found: dict[str, Any] = {}
    if precision is Precision.fp16:
        _half(opened, small)
    elif dataset is not None:
        small = beside / "student.int8.onnx"
        found["calibration"] = _int8(opened, small, dataset, activations)
        found["activation_bits"] = activations
    found |= _compared(opened, small, dataset, threads)
    names = {"bundle": opened.card.id, "source_sha256": opened.sha256, "precision": str(precision), "file": small.name}
    report = {**names, **found}
    _close(beside, out, report)
    return Answer({**report, "out": str(out)}, _words(report, out))


@answers
def export(
    bundle: BundleFolder,
    out: Out,
    format_: Annotated[Format, typer.Option("--format", help="onnx, or openvino where it is installed.")] = Format.onnx,
    as_json: Json = False,
) -> Answer:
    """The student alone in a format for other programs, with its parity to the source on the golden inputs."""
    from kdlight.compress import formats

    opened = open_bundle(bundle)
    _must_be_new(out)
    run = formats.FORMATS[str(format_)](opened, out)
    found = formats.parity(opened, run)
    files = sorted(path.name for path in out.iterdir())
    payload = {"bundle": opened.card.id, "format": str(format_), "files": files, "out": str(out), **found}
    fault = None if found["ok"] else f"{out}: its answers differ from the source's by {found['difference']:.2g}."
    return Answer(payload, fault=fault)


def _must_be_new(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already; a new folder was expected. Give another --out.")


def _splits(bundle: Bundle, data: Path) -> Dataset:
    """The set with train, val and test; what it lacks is carved as it was when the bundle was trained."""
    from kdlight.config import DataConfig
    from kdlight.data import match_classes
    from kdlight.training import open_set

    recipe = tomllib.loads(bundle.card.distillation.recipe).get("data", {})
    known = {key: recipe[key] for key in ("val", "test", "split_seed") if key in recipe}
    config = DataConfig(path=str(data), modality=bundle.card.modality, **known)
    return match_classes(open_set(config, Path()), bundle.classes)


def _half(bundle: Bundle, path: Path) -> None:
    from kdlight.compress import export_half

    export_half(bundle.model("student"), path, bundle.spec.size)


def _int8(bundle: Bundle, path: Path, dataset: Dataset, activations: int) -> dict[str, Any]:
    """Write the int8 file; the ranges of its activations are set on training images."""
    import numpy as np
    import torch

    from kdlight.compress import quantize

    pixels = dataset.split("train").images(bundle.spec)
    chosen = pixels[np.random.default_rng(0).permutation(len(pixels))[:CALIBRATE]]
    parts = [bundle.spec.normalise(part).numpy() for part in torch.split(torch.from_numpy(chosen), PART)]
    quantize(bundle.onnx, path, parts, activations)
    return {"images": len(chosen), "split": "train"}


def _compared(bundle: Bundle, small: Path, dataset: Dataset | None, threads: int) -> dict[str, Any]:
    """Bytes and milliseconds of both files and, where there is data, decisions and scores on its test split."""
    import torch

    from kdlight.benchmark.timer import interleave, machine, row
    from kdlight.compress import compare
    from kdlight.inference.engines import OnnxEngine

    files = {"source": bundle.onnx, "small": small}
    size = {name: path.stat().st_size for name, path in files.items()}
    x = torch.rand(1, 3, bundle.spec.size, bundle.spec.size, generator=torch.Generator().manual_seed(0))
    engines = {name: OnnxEngine(path, threads) for name, path in files.items()}
    ways = {name: lambda engine=engine: engine(x) for name, engine in engines.items()}
    rows = [row(name, times).model_dump() for name, times in interleave(ways, RUNS, WARMUPS).items()]
    found: dict[str, Any] = {"bytes": {**size, "ratio": size["source"] / size["small"]}}
    found["latency"] = {"threads": threads, "rows": rows, "ratio": rows[0]["p50_ms"] / rows[1]["p50_ms"]}
    found["machine"] = machine().model_dump()
    if dataset is not None:
        part = dataset.split("test")
        pixels = part.images(bundle.spec)
        answers_of = [_probabilities(bundle, path, threads)(pixels) for path in files.values()]
        compared = compare(answers_of[0], answers_of[1], part.labels, part.groups)
        compared["flips"]["images"] = [part.items[number].ref for number in compared["flips"]["images"]]
        found |= {"data": part.source.name, "split": "test", **compared}
    return found


def _probabilities(bundle: Bundle, path: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Rendered pixels uint8 (N, S, S, 3) to the student's calibrated probabilities (N, K) by an ONNX file."""
    import torch

    from kdlight.inference.engines import OnnxEngine
    from kdlight.inference.evaluate import predict

    engine, temperature = OnnxEngine(path, threads), bundle.card.temperature("student")

    def logits(pixels: np.ndarray) -> np.ndarray:
        return engine(bundle.spec.normalise(torch.from_numpy(pixels)))

    return lambda pixels: predict(logits, pixels, temperature).probabilities


def _close(beside: Path, out: Path, report: dict[str, Any]) -> None:
    """The report into the folder (it names no image), the card's figures set right, sealed, renamed."""
    from kdlight import bundle as bundles

    flips = {key: value for key, value in report.get("flips", {}).items() if key != "images"}
    kept = {**report, "flips": flips} if flips else report
    (beside / REPORT).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    if report["file"] == "student.onnx":
        card = bundles.read_card(beside)
        bundles.write_card(beside, card.replace(metrics=card.metrics.replace(latency=None)))  # it is of the larger file
    bundles.seal(beside)
    if out.is_dir():
        out.rmdir()
    beside.rename(out)
    bundles.load(out)


def _words(report: dict[str, Any], out: Path) -> Any:
    from rich.console import Group

    size, speed = report["bytes"], {row["name"]: row["p50_ms"] for row in report["latency"]["rows"]}
    rows = [("bytes", size["source"], size["small"]), ("p50 ms", speed["source"], speed["small"])]
    lines = [f"{out / report['file']}"]
    if "flips" in report:
        scores = report["balanced_accuracy"]
        rows.append(("balanced accuracy", words(scores["source"]), words(scores["small"])))
        count, n = report["flips"]["count"], report["n"]
        lines.append(f"{count} of {n} decisions flipped ({words(report['flips']['share'])}).")
        lines.append(f"Largest change of a probability: {report['probability_change']:.3g}.")
    return Group(table(("", "source", report["precision"]), rows), *lines)
