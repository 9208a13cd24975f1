"""kdlight against what one would otherwise use, on one machine, on the same data, in turns. Losses are told too.

    python tools/peers.py --bundle assets/bundles/busi3 --threads 2 --json

- training: an epoch of distillation with kept answers, against a torch loop written by hand (DataLoader, torchvision's
  transforms image by image, the teacher asked every batch) and torchdistill's, where that is installed
  (pip install torchdistill, in an environment of its own or a folder on PYTHONPATH; kdlight does not need it).
- scorecam: Score-CAM of a bundle's MobileNetV2 teacher, against the grad-cam package at its best batch size.
- latency: kdlight nano against timm's smallest networks, one image of 224 px, the same engine, random weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision.transforms import v2

from kdlight import bundle as bundles
from kdlight import inference
from kdlight.cli.frame import Answer, table
from kdlight.compress import export_onnx
from kdlight.distillers.base import softened_kl
from kdlight.inference.engines import onnx_engine
from kdlight.inference.timing import machine
from kdlight.models import Classifier, create_model
from kdlight.preprocessing import InputSpec
from kdlight.preprocessing.augment import AUGMENTATIONS
from kdlight.stopwatch import race, ratio, row
from kdlight.training import Arrays
from kdlight.training.batches import keep_freed_memory
from kdlight.training_benchmark import BATCH, POLICY, STUDENT, TEACHER, Bench, calls, images_of

NETWORKS = (STUDENT, "timm:mobilenetv3_small_050", "timm:mobilenetv4_conv_small_035")
ALPHA, TEMPERATURE = 0.7, 4.0
KDLIGHT, BY_HAND, TORCHDISTILL = "kdlight, answers kept", "torch by hand", "torchdistill"


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
        kept = bench.loop(teacher, bench.answers(teacher, TEACHER)[0], method="kd")
        ways = calls({KDLIGHT: kept})
        for name, loop in loops().items():
            student, asked = (plain_layout(bench.model(which)) for which in (STUDENT, TEACHER))
            ways[name] = loop(student, asked, Pictures(bench.train, bench.spec), workers).epoch
        times = race(ways, rounds, warmups=1)
    return {
        "images": len(bench.train),
        "teacher": TEACHER,
        "student": STUDENT,
        "rows": [row(name, taken) for name, taken in times.items()],
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
            engines[name] = onnx_engine(Path(folder) / "net.onnx", threads)
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    times = race({name: partial(engine, x) for name, engine in engines.items()}, rounds, warmups=20)
    return {
        "size": size,
        "rows": [row(name, taken) for name, taken in times.items()],
        "ratios": {name: ratio(times, name, STUDENT) for name in times if name != STUDENT},
    }


def scorecam(bundle: Path, threads: int) -> dict[str, Any]:
    """`kdlight benchmark explain` on the bundle: the package once, kdlight's ways several times."""
    found = inference.explain_speed(bundles.load(bundle), threads=threads)
    return {key: found[key] for key in ("size", "rows", "ratios", "baseline", "candidate") if key in found}


def losses(found: dict[str, Any]) -> list[str]:
    """Where another is faster than kdlight, in sentences."""
    said = []
    for part in ("training", "latency"):
        for name, times in found[part]["ratios"].items():
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
    for part in ("training", "scorecam", "latency"):
        if part in found:
            lines = [(line["name"], line["p50_ms"], line["p95_ms"]) for line in found[part]["rows"]]
            parts += [table((part, "p50 ms", "p95 ms"), lines), ""]
    missing = [
        f"{name} is not installed and was not timed: pip install {name}." for name in found["training"]["missing"]
    ]
    said = found["losses"] or ["Nothing that was timed is faster than kdlight."]
    return Group(*parts, *missing, *([] if "scorecam" in found else ["Score-CAM was not timed: give --bundle."]), *said)


def main(
    data: Annotated[Path | None, typer.Argument(help="A labelled set; drawn shapes without one.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="A bundle whose teacher is MobileNetV2, for Score-CAM.")] = None,
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
    found: dict[str, Any] = {"benchmark": "peers", "machine": machine(), "threads": threads, "workers": workers}
    found["training"] = training(data, images, rounds, workers)
    if bundle is not None:
        found["scorecam"] = scorecam(bundle, threads)
    found["latency"] = latency(200, threads)
    found["losses"] = losses(found)
    Answer(found, words(found)).print(as_json)


if __name__ == "__main__":
    typer.run(main)
