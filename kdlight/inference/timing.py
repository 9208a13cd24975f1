"""How fast the student is against its teacher, from a decoded image to an answer: in turns, in one run."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdlight import bundle as bundles
from kdlight.bundle import Bundle
from kdlight.bundle.card import Benchmark
from kdlight.images import Image
from kdlight.inference.choice import choose
from kdlight.inference.engines import Engine, onnx_engine, torch_engine
from kdlight.inference.machine import check_quiet
from kdlight.inference.machine import machine as machine
from kdlight.inference.predictor import Predictor
from kdlight.inference.turns import Call, blocks
from kdlight.metrics import softmax
from kdlight.modality import Window
from kdlight.reading import ROLES
from kdlight.stopwatch import Progress, race, row

if TYPE_CHECKING:
    import PIL.Image

    from kdlight.preprocessing import InputSpec

CANDIDATE = "student, ONNX Runtime"
BASELINE = "teacher, torch eager"
SAME_ENGINE = "teacher, ONNX Runtime"
PLAIN = "teacher, torch eager after torchvision's transforms"
COLD = "{}; cold"
WHOLE = "{}; from a decoded image of {} px"
MAPS = "Grad-CAM of both; from a decoded image of {} px"
WARMUPS, RUNS = 10, 50


def latency(
    bundle: Bundle,
    size: int = 224,
    threads: int = 1,
    runs: int = RUNS,
    warmups: int = WARMUPS,
    seed: int = 0,
    progress: Progress | None = None,
    images: Sequence[int] = (),
) -> dict[str, Any]:
    """Milliseconds per image at a side of `size` px of each engine, p50 and p95 over `runs`, with the bundle's weights.

    The first rows are the networks alone, prepared input to logits, as one model at work meets them: in short blocks,
    the engines' blocks in an order drawn anew each round, so that a busy moment hits all alike. With `images`, sides
    of decoded pictures, there are rows besides: for each side the whole way to calibrated probabilities (prepared,
    answered, softmax) and both models' Grad-CAM; and the networks "cold", single calls in turn, each finding the
    caches as another network left them. Then `bound` says how long the multiply-adds alone take at the processor's
    measured peak, and how long weights and maps take to memory and back; `engines` are those that the student may run
    on, as `choice.choose` found and kept them.

    `ratio` is the baseline's p50 over the candidate's, networks alone; `ratios` are each row's p50 over that of the
    candidate measured the same way. progress(done, total) counts rounds.
    Raises ValueError for fewer than 10 warm-ups or 50 runs, or a size outside 32 to 1024.
    """
    _check(size, threads, runs, warmups)
    import torch

    rng = np.random.default_rng(seed)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        engines = _engines(bundle, threads)
        x = torch.from_numpy(rng.standard_normal((1, 3, size, size)).astype(np.float32))
        alone: dict[str, Call] = {name: _bind(engine, x) for name, engine in engines.items()}
        times = blocks(alone | _whole(bundle, engines, size, threads, images), runs, warmups, rng, progress)
        if images:
            times |= race({COLD.format(name): call for name, call in alone.items()}, runs, warmups, seed)
        found = {"bound": _bound(bundle, size), "engines": choose(bundle, threads, size)} if images else {}
    finally:
        torch.set_num_threads(before)
    settings = {"size": size, "threads": threads, "warmups": warmups, "runs": runs, "seed": seed}
    return _report(bundle, times, settings) | found


def quiet_latency(bundle: Bundle, *arguments: Any, **options: Any) -> dict[str, Any]:
    """`latency`, on a machine that is quiet before and after. Raises BusyError where it is not."""
    check_quiet()
    found = latency(bundle, *arguments, **options)
    check_quiet()
    return found


def keep(bundle: Bundle, report: Mapping[str, Any]) -> None:
    """Write the networks' own medians, and what they were measured on, on the bundle's card; it is sealed anew."""
    names = ("machine", "batch", "size", "threads", "warmups", "runs", "candidate", "baseline", "ratio")
    rows = [row for row in report["rows"] if "; " not in row["name"]]
    kept = {**{name: report[name] for name in names}, "rows": rows}
    metrics = bundle.card.metrics.replace(latency=Benchmark.model_validate(kept))
    bundles.write_card(bundle.path, bundle.card.replace(metrics=metrics))
    bundles.seal(bundle.path)


def _bind(engine: Engine, x: Any) -> Call:
    return lambda: engine(x)


def _engines(bundle: Bundle, threads: int) -> dict[str, Engine]:
    import torch

    from kdlight.compress import export_onnx

    teacher = bundle.model("teacher")
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(teacher, Path(folder) / "teacher.onnx", bundle.spec.size)
        same = onnx_engine(Path(folder) / "teacher.onnx", threads)
    last = bundle.model("teacher").to(memory_format=torch.channels_last)
    return {
        BASELINE: torch_engine(teacher),
        "teacher, torch eager, channels last": torch_engine(last),
        SAME_ENGINE: same,
        "student, torch eager": torch_engine(bundle.model("student")),
        CANDIDATE: onnx_engine(bundle.onnx, threads),
    }


def _whole(
    bundle: Bundle, engines: Mapping[str, Engine], size: int, threads: int, images: Sequence[int]
) -> dict[str, Call]:
    """From a decoded image to calibrated probabilities, and to both models' Grad-CAM, by the names of their rows."""
    if not images:
        return {}
    card = bundle.card.replace(input=dataclasses.replace(bundle.spec, size=size))
    sized = dataclasses.replace(bundle, card=card)
    predictor, calls = Predictor(sized, threads), {}
    for side in images:
        image = drawn(side, bool(card.eligibility.color))
        for name, engine in engines.items():
            temperature = card.temperature("student" if name.startswith("student") else "teacher")
            calls[WHOLE.format(name, side)] = _answer(sized.spec, image, engine, temperature)
        temperature = card.temperature("teacher")
        calls[WHOLE.format(PLAIN, side)] = _plain(sized.spec, image, engines[BASELINE], temperature)
        calls[MAPS.format(side)] = _maps(predictor, image)
    return calls


def _answer(spec: InputSpec, image: Image, engine: Engine, temperature: float) -> Call:
    return lambda: softmax(engine(spec.prepare(image)[None]), temperature)


def _maps(predictor: Predictor, image: Image) -> Call:
    return lambda: predictor.heat_maps(image, "gradcam", confirmed=True)


def _plain(spec: InputSpec, image: Image, engine: Engine, temperature: float) -> Call:
    """As most scripts do it: a Pillow picture in RGB, torchvision's transforms, the network."""
    import PIL.Image
    from torchvision import transforms  # type: ignore[import-untyped, unused-ignore]

    pixels = image.display()
    steps = transforms.Compose(
        [
            transforms.Resize((spec.size, spec.size)),
            transforms.ToTensor(),
            transforms.Normalize(spec.mean, spec.std),
        ]
    )

    def picture() -> PIL.Image.Image:
        return PIL.Image.fromarray(pixels).convert("RGB")

    return lambda: softmax(engine(steps(picture())[None]), temperature)


def drawn(side: int, color: bool) -> Image:
    """A decoded picture of `side` px as `images.read` gives it: gray floats with their window, or RGB."""
    import PIL.Image

    rng = np.random.default_rng(side)
    coarse = rng.integers(0, 256, (16, 16, 3) if color else (16, 16), dtype=np.uint8)
    pixels = np.asarray(PIL.Image.fromarray(coarse).resize((side, side)))
    if color:
        return Image(pixels, "drawn", "png", 8, ())
    return Image(pixels.astype(np.float32), "drawn", "png", 8, (Window(127.5, 255),))


def _bound(bundle: Bundle, size: int) -> dict[str, float]:
    """Each network's milliseconds if only one thing took time: its multiply-adds at the rate of a float32 matrix
    product, or its weights and maps on their way to memory and back; what stays in the caches is faster than that."""
    from kdlight.bounds import peaks
    from kdlight.models import macs

    gmacs, gigabytes = peaks()
    found = {"peak_gmacs": gmacs, "peak_gigabytes_per_second": gigabytes}
    for role in ROLES:
        model = bundle.model(role)
        found[f"{role}_ms"] = 1e-6 * macs(model, size) / gmacs
        found[f"{role}_memory_ms"] = 1e-6 * _traffic(model, size) / gigabytes
    return found


def _traffic(model: Any, size: int) -> int:
    """Bytes in float32 of every weight, and of what each convolution and linear layer reads and writes."""
    import torch
    from torch import nn

    total: int = 4 * sum(p.numel() for p in model.parameters())

    def add(_: Any, given: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        total += 4 * (given[0].numel() + output.numel())

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    with torch.no_grad():
        model(torch.zeros(1, 3, size, size))
    return total


def _report(bundle: Bundle, times: dict[str, list[float]], settings: dict[str, Any]) -> dict[str, Any]:
    p50 = {name: float(np.percentile(taken, 50)) for name, taken in times.items()}
    return {
        "benchmark": "latency",
        "bundle": bundle.card.id,
        "bundle_sha256": bundle.sha256,
        "machine": machine(),
        "batch": 1,
        **settings,
        "rows": [row(name, taken) for name, taken in times.items()],
        "candidate": CANDIDATE,
        "baseline": BASELINE,
        "ratio": p50[BASELINE] / p50[CANDIDATE],
        "ratios": {name: taken / p50[_peer(name)] for name, taken in p50.items()},
    }


def _peer(name: str) -> str:
    """The candidate's row that was measured as this one."""
    _, part, how = name.partition("; ")
    return f"{CANDIDATE}{part}{how}"


def _check(size: int, threads: int, runs: int, warmups: int) -> None:
    if runs < RUNS or warmups < WARMUPS:
        raise ValueError(
            f"{warmups} warm-ups and {runs} runs were asked for; at least {WARMUPS} and {RUNS} are needed."
        )
    if not 32 <= size <= 1024:
        raise ValueError(f"A size of {size} px was asked for; 32 to 1024 was expected.")
    if threads < 1:
        raise ValueError(f"{threads} threads were asked for; at least 1 was expected.")
