"""kdlight against what one would otherwise use, on one machine, on the same data, in turns. Losses are told too.

    python tools/peers.py --bundle assets/bundles/busi3 --threads 2 --json

- training: an epoch of distillation with cached teacher outputs, against a torch loop written by hand (DataLoader,
  torchvision's transforms image by image, the teacher asked every batch) and torchdistill's, where that is installed
  (pip install torchdistill, in an environment of its own or a folder on PYTHONPATH; kdlight does not need it).
- scorecam: Score-CAM of a bundle's MobileNetV2 teacher, against the grad-cam package at its best batch size.
- folder: DICOM files by `kdlight predict FOLDER`, against the loop of a script: pydicom, Pillow, torch.
- latency: kdlight nano against timm's smallest networks, one image of 224 px, the same engine, random weights.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import numpy as np
import PIL.Image
import torch
import typer
from pydicom import dcmread
from pydicom.pixels.processing import apply_voi_lut
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision.transforms import v2

from kdlight import bundle as bundles
from kdlight.benchmark.batch import CHUNK, generate, overlapped
from kdlight.benchmark.explain import EVERY_MASK, FAST, SCORE_CAM, given, ways_of
from kdlight.benchmark.timer import interleave, machine, milliseconds, ratio, row
from kdlight.benchmark.training import BATCH, POLICY, STUDENT, TEACHER, Bench, calls, images_of
from kdlight.cli.output import Answer, table
from kdlight.compress import export_onnx
from kdlight.contracts.reading import ROLES
from kdlight.distillers.base import softened_kl
from kdlight.explain import similarity
from kdlight.images import read
from kdlight.inference import Predictor
from kdlight.inference.engines import OnnxEngine, flushed_denormals, torch_threads
from kdlight.models import Classifier, create_model
from kdlight.preprocessing import InputSpec
from kdlight.preprocessing.augment import AUGMENTATIONS
from kdlight.training import Arrays
from kdlight.training.batches import keep_freed_memory

NETWORKS = (STUDENT, "timm:mobilenetv3_small_050", "timm:mobilenetv4_conv_small_035")
ALPHA, TEMPERATURE = 0.7, 4.0
KDLIGHT, BY_HAND, TORCHDISTILL = "kdlight, teacher outputs cached", "torch by hand", "torchdistill"
PACKAGE, OURS = "Score-CAM of the teacher, grad-cam package", (SCORE_CAM, EVERY_MASK, FAST)
PREDICT = "kdlight predict"
BATCHES = (4, 16, 64)
FIRST = 64
"""Masks that tell which batch size suits the package here."""


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """A split in memory for a DataLoader: each image turned, moved and lit by torchvision as it is asked for.

    The ranges are those of kdlight's own policy, drawn by torchvision's transforms.
    """

    def __init__(self, split: Arrays, spec: InputSpec) -> None:
        policy = AUGMENTATIONS[POLICY]
        zoom = (1 / (1 + policy.zoom), 1 + policy.zoom)
        self.split = split
        self.transform = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomVerticalFlip(),
                v2.RandomAffine(
                    policy.rotate, (policy.shift, policy.shift), zoom, interpolation=v2.InterpolationMode.BILINEAR
                ),
                v2.ColorJitter(policy.brightness, policy.contrast, policy.saturation),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(spec.mean, spec.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.split.pixels[index].permute(2, 0, 1)), self.split.labels[index]


class ByHand:
    """Hinton's distillation as it is written in an afternoon."""

    def __init__(self, student: Classifier, teacher: Classifier, pictures: Pictures, workers: int) -> None:
        self.student, self.teacher = student, teacher.eval()
        self.loader = DataLoader(pictures, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        self.optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4)

    def epoch(self) -> None:
        self.student.train()
        for x, y in self.loader:
            with torch.no_grad():
                answer = self.teacher(x)
            logits = self.student(x)
            hard = nn.functional.cross_entropy(logits, y)
            loss = (1 - ALPHA) * hard + ALPHA * softened_kl(logits, answer, TEMPERATURE)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


class Torchdistill:
    """The same by torchdistill's DistillationBox."""

    def __init__(self, student: Classifier, teacher: Classifier, pictures: Pictures, workers: int) -> None:
        from torchdistill.core.distillation import DistillationBox

        loader = {"num_workers": workers, "batch_size": BATCH, "persistent_workers": workers > 0}
        ends = {"student_module_path": ".", "teacher_module_path": "."}
        ends |= {"student_module_io": "output", "teacher_module_io": "output"}
        kd = {"key": "KDLoss", "kwargs": {**ends, "temperature": TEMPERATURE, "alpha": 1 - ALPHA}}
        config = {
            "num_epochs": 1,
            "train_data_loader": {
                "dataset_id": "train",
                "sampler": {"class_or_func": RandomSampler},
                "kwargs": loader,
            },
            "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
            "student": {"forward_proc": "forward_batch_only"},
            "optimizer": {"key": "AdamW", "kwargs": {"lr": 1e-4}},
            "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": {"criterion": kd, "weight": 1.0}}}},
        }
        self.box = DistillationBox(
            teacher, student, {"train": pictures}, config, torch.device("cpu"), None, distributed=False, lr_factor=1
        )
        self.numbers = count()

    def epoch(self) -> None:
        box = self.box
        box.teacher_model.eval()
        box.pre_epoch_process(epoch=next(self.numbers))
        for x, targets, extra in box.train_data_loader:
            box.post_forward_process(box.forward_process(x, targets, extra))
        box.post_epoch_process()


def training(data: Path | None, images: int, rounds: int, workers: int) -> dict[str, Any]:
    """An epoch of `images` images at 128 px by each loop: the same pictures, student, teacher and loss."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench.of(images_of(data, images, Path(folder)), InputSpec(128), Path(folder))
        teacher = bench.model(TEACHER)
        kept = bench.loop(teacher, bench.cache(teacher, TEACHER)[0], method="kd")
        ways = calls({KDLIGHT: kept})
        for name, loop in loops().items():
            student, asked = (plain_layout(bench.model(which)) for which in (STUDENT, TEACHER))
            ways[name] = loop(student, asked, Pictures(bench.train, bench.spec), workers).epoch
        times = interleave(ways, rounds, warmups=1)
    return {
        "images": len(bench.train),
        "teacher": TEACHER,
        "student": STUDENT,
        "rows": [row(name, taken).model_dump() for name, taken in times.items()],
        "ratios": {name: ratio(times, name, KDLIGHT) for name in times if name != KDLIGHT},
        "missing": [name for name in (BY_HAND, TORCHDISTILL) if name not in times],
    }


def loops() -> dict[str, type[ByHand] | type[Torchdistill]]:
    """The others' loops that are installed."""
    return {BY_HAND: ByHand} | ({TORCHDISTILL: Torchdistill} if find_spec("torchdistill") else {})


def plain_layout(model: Classifier) -> Classifier:
    """As torch makes a model: channels first."""
    return model.to(memory_format=torch.contiguous_format)


def latency(rounds: int, threads: int, size: int = 224) -> dict[str, Any]:
    """One image of each small network on ONNX Runtime, as kdlight writes it."""
    engines: dict[str, Callable[[Tensor], Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            torch.manual_seed(0)
            export_onnx(create_model(name, 3).eval(), Path(folder) / "net.onnx", size)
            engines[name] = OnnxEngine(Path(folder) / "net.onnx", threads)
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    times = interleave({name: partial(engine, x) for name, engine in engines.items()}, rounds, warmups=20)
    return {
        "size": size,
        "rows": [row(name, taken).model_dump() for name, taken in times.items()],
        "ratios": {name: ratio(times, name, STUDENT) for name in times if name != STUDENT},
    }


def scorecam(bundle: Path, threads: int, rounds: int = 3, weights: Path | None = None) -> dict[str, Any]:
    """Score-CAM of the teacher on the golden inputs of a bundle: the package's at its best batch size, and kdlight's.

    weights: a MobileNetV2 state dict that takes the teacher's place. The package's cells are laid as kdlight's are.
    """
    opened = bundles.load(bundle)
    spec = replace(opened.spec, size=224)
    teacher: Any = given(weights) if weights else opened.model("teacher")
    inputs = [spec.prepare(read(path))[None] for path in sorted((opened.path / "golden").glob("case_*.png"))]
    ways = ways_of(teacher, opened.model("student"))
    with torch_threads(threads), flushed_denormals():
        with torch.no_grad():
            tops = [int(teacher(x).argmax()) for x in inputs]
        probe = best_batch(teacher, inputs[0], tops[0])
        run = package(teacher, min(probe, key=probe.__getitem__))
        times: dict[str, list[float]] = {}
        maps: dict[str, np.ndarray] = {}
        near: dict[str, list[float]] = {name: [] for name in OURS}
        for number in range(rounds):
            x, top = inputs[number % len(inputs)], tops[number % len(inputs)]
            calls = {name: lambda n=name, x=x: maps.update({n: ways[n](x).heat}) for name in OURS}
            calls[PACKAGE] = lambda x=x, top=top: maps.update({PACKAGE: run(x, top)})  # type: ignore[misc]
            for name, taken in interleave(calls, 1, 0, number).items():
                times.setdefault(name, []).extend(taken)
            for name in OURS:
                near[name].append(similarity(maps[name], maps[PACKAGE]) or 0.0)
    return {
        "size": spec.size,
        "weights": weights.name if weights else None,
        "probe": {str(batch): ms for batch, ms in probe.items()},
        "rows": [row(name, taken).model_dump() for name, taken in times.items()],
        "pearson": {name: float(np.median(values)) for name, values in near.items()},
        "baseline": PACKAGE,
        "ratios": {name: ratio(times, PACKAGE, name) for name in OURS},
    }


def package(model: Any, batch: int) -> Callable[[Tensor, int], np.ndarray]:
    """A prepared image (1, 3, S, S) and a class to the package's map (S, S) in [0, 1]."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def run(x: Tensor, top: int) -> np.ndarray:
        with _opened(model, batch) as cam, _laid(model, x):
            heat: np.ndarray = cam(x, [ClassifierOutputTarget(top)])[0]
        return heat

    return run


def best_batch(model: Any, x: Tensor, top: int) -> dict[int, float]:
    """Milliseconds per mask of the package's own loop over FIRST masks, for each of BATCHES, after a few to warm up."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    from kdlight.explain.scorecam import feature_maps

    maps = feature_maps(model, x, top)[0][None, :FIRST].numpy()
    targets, times = [ClassifierOutputTarget(top)], {}
    for batch in (0, *BATCHES):
        some = maps if batch else maps[:, : BATCHES[0]]
        with _opened(model, batch or BATCHES[0]) as cam:
            call = partial(cam.get_cam_weights, x, model.cam_layer, targets, some, None)
            times[batch] = milliseconds(call) / some.shape[1]
    return {batch: times[batch] for batch in BATCHES}


@contextlib.contextmanager
def _laid(model: Any, x: Tensor) -> Iterator[None]:
    """The package's masks and maps at the centers of the cells' receptive fields, where it stretches them from edge to
    edge: so that its map is the one to be met, and every other step its own."""
    import torch
    from pytorch_grad_cam import base_cam

    from kdlight.explain.trace import lattices

    (lattice,) = lattices(model, [model.cam_layer], x)

    def scaled(cells: np.ndarray, target_size: tuple[int, int] | None = None) -> np.ndarray:
        maps: np.ndarray = stretch(cells)
        if target_size is None:
            return maps
        return np.asarray(lattice.enlarge(torch.from_numpy(maps), target_size[::-1], fade=True).numpy())

    stretch = base_cam.scale_cam_image
    with (
        mock.patch.object(torch.nn, "UpsamplingBilinear2d", lambda size: lambda maps: lattice.enlarge(maps, size)),
        mock.patch.object(base_cam, "scale_cam_image", scaled),
    ):
        yield


@contextlib.contextmanager
def _opened(model: Any, batch: int) -> Iterator[Any]:
    """The package at work; its progress bar is kept off the screen."""
    from pytorch_grad_cam import ScoreCAM

    with contextlib.redirect_stderr(io.StringIO()), ScoreCAM(model, [model.cam_layer]) as cam:
        cam.batch_size = batch
        yield cam


def folder(bundle: Path, threads: int, files: int = 200) -> dict[str, Any]:
    """A folder of DICOM files by `kdlight predict`, and by the loop that one writes without kdlight."""
    opened = bundles.load(bundle)
    with torch_threads(threads), tempfile.TemporaryDirectory() as place:
        predictor, single = Predictor(opened, threads), Predictor(opened, 1)
        made = generate(Path(place), files)
        chunks = [made[start : start + CHUNK] for start in range(0, files, CHUNK)]
        times: dict[str, list[float]] = {}
        for number, chunk in enumerate(chunks):
            ways = {
                PREDICT: partial(overlapped, single, chunk),
                BY_HAND: partial(by_hand, predictor, chunk),
            }
            for name, taken in interleave(ways, 1, 0, number).items():
                times.setdefault(name, []).extend(ms / CHUNK for ms in taken)
    return {
        "files": files,
        "rows": [row(name, taken).model_dump() for name, taken in times.items()],
        "ratios": {BY_HAND: ratio(times, BY_HAND, PREDICT)},
    }


def by_hand(predictor: Predictor, files: list[Path]) -> None:
    """The loop of a script: pydicom, its window, Pillow, and both networks in torch, each asked once."""
    side = predictor.spec.size
    for file in files:
        data = dcmread(file)
        pixels = apply_voi_lut(data.pixel_array, data).astype(np.float32)
        gray = 255 * (pixels - pixels.min()) / max(float(np.ptp(pixels)), 1.0)
        small = PIL.Image.fromarray(gray.astype(np.uint8)).resize((side, side), PIL.Image.Resampling.BILINEAR)
        x = predictor.spec.normalise(torch.from_numpy(np.asarray(small.convert("RGB"))[None].copy()))
        with torch.inference_mode():
            for role in ROLES:
                predictor.models[role](x).softmax(1).numpy()


def losses(found: dict[str, Any]) -> list[str]:
    """Where another is faster than kdlight, in sentences."""
    said = []
    for part in ("training", "latency", "folder"):
        for name, times in found.get(part, {"ratios": {}})["ratios"].items():
            if times < 1:
                said.append(f"{part}: {name} takes {times:.2f} of kdlight's time.")
    explained = found.get("scorecam")
    if explained:
        own = [name for name, times in explained["ratios"].items() if times < 1]
        said += [f"scorecam: {name} is slower than {explained['baseline']}." for name in own]
    return said


def words(found: dict[str, Any]) -> Any:
    """Tables, what could not be timed, and the losses."""
    from rich.console import Group

    parts: list[Any] = []
    for part in ("training", "scorecam", "latency", "folder"):
        if part in found:
            lines = [(line["name"], line["p50_ms"], line["p95_ms"]) for line in found[part]["rows"]]
            parts += [table((part, "p50 ms", "p95 ms"), lines), ""]
    missing = [
        f"{name} is not installed and was not timed: pip install {name}." for name in found["training"]["missing"]
    ]
    said = found["losses"] or ["Nothing that was timed is faster than kdlight."]
    return Group(
        *parts,
        *missing,
        *([] if "scorecam" in found else ["Score-CAM and a folder were not timed: give --bundle."]),
        *said,
    )


def main(
    data: Annotated[Path | None, typer.Argument(help="A labelled set; drawn shapes without one.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="A bundle whose teacher is MobileNetV2, for Score-CAM.")] = None,
    weights: Annotated[Path | None, typer.Option(help="MobileNetV2 weights in its teacher's place.")] = None,
    images: Annotated[int, typer.Option(min=64, help="Images of an epoch.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Timed epochs of each loop.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads of torch and ONNX Runtime.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make the others' batches.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record.")] = False,
) -> None:
    """Time kdlight against its peers."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    found: dict[str, Any] = {
        "benchmark": "peers",
        "machine": machine().model_dump(),
        "threads": threads,
        "workers": workers,
    }
    found["training"] = training(data, images, rounds, workers)
    if bundle is not None:
        found["scorecam"] = scorecam(bundle, threads, weights=weights)
        found["folder"] = folder(bundle, threads)
    found["latency"] = latency(200, threads)
    found["losses"] = losses(found)
    Answer(found, words(found)).print(as_json)


if __name__ == "__main__":
    typer.run(main)
