"""How fast the student is against its teacher, from a decoded image to an answer: interleaved, in one run."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import torch
from torchvision import transforms  # type: ignore[import-untyped, unused-ignore]

from kdlight import bundle as bundles
from kdlight.benchmark.timer import Figures, Report, Row, Way, check_quiet, interleave, machine, row
from kdlight.bundle import Bundle
from kdlight.bundle.speed import CHANNELS_LAST, ONNX, TORCH, Speed
from kdlight.compress import export_onnx
from kdlight.contracts.modality import Window
from kdlight.contracts.reading import ROLES, Role
from kdlight.data.dataset import Progress
from kdlight.images import Image
from kdlight.inference.engines import Engine, OnnxEngine, TorchEngine, torch_threads
from kdlight.inference.predictor import Predictor
from kdlight.metrics import softmax
from kdlight.models import macs
from kdlight.preprocessing import InputSpec

WARMUPS, RUNS = 10, 50
BLOCK, LEAD = 5, 2
"""Timed calls of one way in a row, and those before them that are not timed: as one model at work is used."""
TRANSFORMS = "torch eager after torchvision's transforms"
Route = Literal["network", "cold", "image", "maps"]
"""network: prepared input to logits; cold: the same in single calls, each finding the caches as another network left
them; image: from a decoded image to calibrated probabilities; maps: from a decoded image to both models' Grad-CAM."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a row's times are of."""

    role: Role | None
    """None: both."""
    engine: str
    route: Route = "network"
    pixels: int | None = None
    """Side of the decoded image."""

    @property
    def student(self) -> Measured:
        """The shipped student measured as this one."""
        return Measured("student", ONNX, "image" if self.route == "maps" else self.route, self.pixels)

    @property
    def name(self) -> str:
        network = "Grad-CAM of both" if self.role is None else f"{self.role}, {self.engine}"
        ends = {"cold": "; cold", "network": ""}
        return network + ends.get(self.route, f"; from a decoded image of {self.pixels} px")


CANDIDATE, BASELINE = Measured("student", ONNX), Measured("teacher", TORCH)


class LatencyRow(Row):
    """One way's times per image."""

    role: Role | None
    engine: str
    route: Route
    pixels: int | None


class Bound(Figures):
    """How long each network's multiply-adds alone would take at the processor's measured peak."""

    peak_gmacs: float
    """Multiply-adds (1e9 a second) of a float32 matrix product, the best of ten."""
    teacher_ms: float
    student_ms: float

    @classmethod
    def of(cls, bundle: Bundle, size: int) -> Bound:
        """Of one image of `size` px."""
        square = torch.rand(1024, 1024)
        best = min(interleave({"product": lambda: square @ square}, runs=10, warmups=2)["product"])
        teacher, student = (macs(bundle.model(role), size) / 1024**3 * best for role in ROLES)
        return cls(peak_gmacs=1024**3 / best / 1e6, teacher_ms=teacher, student_ms=student)


class LatencyReport(Report):
    """`ratio` is the teacher's median in torch over the student's as shipped, networks alone."""

    benchmark: str = "latency"
    candidate: str = CANDIDATE.name
    baseline: str = BASELINE.name
    bundle: str
    bundle_sha256: str
    batch: int = 1
    size: int
    """Side of the networks' input in pixels."""
    seed: int = 0
    rows: tuple[LatencyRow, ...]
    ratios: dict[str, float]
    """Each row's median over that of the shipped student measured the same way."""
    bound: Bound | None
    """None where only the networks were timed."""


def latency(
    bundle: Bundle,
    size: int = 224,
    threads: int = 1,
    runs: int = RUNS,
    warmups: int = WARMUPS,
    progress: Progress | None = None,
    images: Sequence[int] = (),
) -> LatencyReport:
    """Milliseconds per image at a side of `size` px of each engine, p50 and p95 over `runs`, with the bundle's weights.

    Timed are the networks alone, in short blocks; with `images`, sides of decoded pictures, also the whole way from
    each to calibrated probabilities and both Grad-CAMs, the networks "cold", and the bound of arithmetic. progress
    counts rounds. Raises ValueError for fewer than 10 warm-ups or 50 runs, or a size outside 32 to 1024.
    """
    _check(size, threads, runs, warmups)
    with torch_threads(threads):
        networks = engines(bundle, threads)
        x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, size, size)).astype(np.float32))
        ways: dict[Measured, Way] = {network: partial(engine, x) for network, engine in networks.items()}
        cold = {dataclasses.replace(way, route="cold"): call for way, call in ways.items()} if images else {}
        ways |= whole_ways(bundle, networks, size, threads, images) if images else {}
        times = interleave(_named(ways), runs, warmups, 0, progress, BLOCK, LEAD)
        times |= interleave(_named(cold), runs, warmups) if cold else {}
        bound = Bound.of(bundle, size) if images else None
    ways |= cold
    p50 = {way: float(np.median(times[way.name])) for way in ways}
    return LatencyReport(
        bundle=bundle.card.id,
        bundle_sha256=bundle.sha256,
        machine=machine(),
        size=size,
        threads=threads,
        warmups=warmups,
        runs=runs,
        rows=tuple(_row(way, times) for way in ways),
        ratio=p50[BASELINE] / p50[CANDIDATE],
        ratios={way.name: ms / p50[way.student] for way, ms in p50.items()},
        bound=bound,
    )


def _row(way: Measured, times: Mapping[str, list[float]]) -> LatencyRow:
    return LatencyRow(**row(way.name, times[way.name]).model_dump(), **dataclasses.asdict(way))


def quiet_latency(bundle: Bundle, *arguments: Any, **options: Any) -> LatencyReport:
    """`latency`, on a machine that is quiet before and after. Raises BusyError where it is not."""
    check_quiet()
    report = latency(bundle, *arguments, **options)
    check_quiet()
    return report


def record(bundle: Bundle, report: LatencyReport) -> None:
    """Write the networks' own medians, and what they were measured on, on the bundle's card; it is sealed anew."""
    latency = Speed.model_validate(report.model_dump())
    bundles.write_card(bundle.path, bundle.card.replace(metrics=bundle.card.metrics.replace(latency=latency)))
    bundles.seal(bundle.path)


def engines(bundle: Bundle, threads: int) -> dict[Measured, Engine]:
    """Both networks, each on what it may run on."""
    teacher = bundle.model("teacher")
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(teacher, Path(folder) / "teacher.onnx", bundle.spec.size)
        exported = OnnxEngine(Path(folder) / "teacher.onnx", threads)
    last = bundle.model("teacher").to(memory_format=torch.channels_last)
    return {
        BASELINE: TorchEngine(teacher),
        Measured("teacher", CHANNELS_LAST): TorchEngine(last),
        Measured("teacher", ONNX): exported,
        Measured("student", TORCH): TorchEngine(bundle.model("student")),
        CANDIDATE: OnnxEngine.of(bundle, threads),
    }


def whole_ways(
    bundle: Bundle, engines: Mapping[Measured, Engine], size: int, threads: int, images: Sequence[int]
) -> dict[Measured, Way]:
    """From a decoded image to calibrated probabilities, and to both models' Grad-CAM."""
    card = bundle.card.replace(input=dataclasses.replace(bundle.spec, size=size))
    sized = dataclasses.replace(bundle, card=card)
    predictor, ways = Predictor(sized, threads), {}
    for side in images:
        image = drawn(side, bool(card.eligibility.color))
        for network, engine in engines.items():
            way = dataclasses.replace(network, route="image", pixels=side)
            ways[way] = _answer(sized.spec, image, engine, card.temperature(network.role or "student"))
        plain = Measured("teacher", TRANSFORMS, "image", side)
        ways[plain] = _by_transforms(sized.spec, image, engines[BASELINE], card.temperature("teacher"))
        maps = partial(predictor.heat_maps, image, "gradcam", confirmed=True)
        ways[Measured(None, "as read", "maps", side)] = maps
    return ways


def drawn(side: int, color: bool) -> Image:
    """A decoded picture of `side` px as `images.read` gives it: gray floats with their window, or RGB."""
    rng = np.random.default_rng(side)
    coarse = rng.integers(0, 256, (16, 16, 3) if color else (16, 16), dtype=np.uint8)
    pixels = np.asarray(PIL.Image.fromarray(coarse).resize((side, side)))
    values, windows = (pixels, ()) if color else (pixels.astype(np.float32), (Window(127.5, 255),))
    return Image(pixels=values, sha256="drawn", format="png", bits=8, windows=windows)


def _answer(spec: InputSpec, image: Image, engine: Engine, temperature: float) -> Way:
    return lambda: softmax(engine(spec.prepare(image)[None]), temperature)


def _by_transforms(spec: InputSpec, image: Image, engine: Engine, temperature: float) -> Way:
    """As most scripts do it: a Pillow picture in RGB, torchvision's transforms, the network."""
    pixels, side = image.display(), (spec.size, spec.size)
    steps = transforms.Compose(
        [transforms.Resize(side), transforms.ToTensor(), transforms.Normalize(spec.mean, spec.std)]
    )
    return lambda: softmax(engine(steps(PIL.Image.fromarray(pixels).convert("RGB"))[None]), temperature)


def _named(ways: Mapping[Measured, Way]) -> dict[str, Way]:
    return {way.name: call for way, call in ways.items()}


def _check(size: int, threads: int, runs: int, warmups: int) -> None:
    if runs < RUNS or warmups < WARMUPS:
        raise ValueError(
            f"{warmups} warm-ups and {runs} runs were asked for; at least {WARMUPS} and {RUNS} are needed."
        )
    if not 32 <= size <= 1024:
        raise ValueError(f"A size of {size} px was asked for; 32 to 1024 was expected.")
    if threads < 1:
        raise ValueError(f"{threads} threads were asked for; at least 1 was expected.")
