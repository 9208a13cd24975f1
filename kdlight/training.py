"""The training loop, on Lightning Fabric. It yields one EpochLog per epoch and knows neither pages nor methods.

Every random choice of an epoch hangs on (seed, epoch) alone, so a run resumed from its last checkpoint goes on exactly
as it would have: order, augmentation and dropout are drawn anew from that pair.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from kdlight.answers import Answers
from kdlight.distillers import Batch, Distiller, View
from kdlight.models.base import Classifier
from kdlight.preprocessing import InputSpec

VIEWS_SEED = 1_000
"""Where the views of a recipe with a fixed number of them begin: one for all seeds, so that they share the teacher."""


class Augment(Protocol):
    """Random views of images, drawn for a whole set at once: `kdlight.preprocessing.augment.RandomView`."""

    def draw(self, count: int, generator: torch.Generator | None = None) -> Any:
        """What becomes of each of `count` images; indexed by an index tensor."""

    def see(self, pixels: Tensor, draws: Any) -> Tensor:
        """uint8 (B, 3, S, S) under the draws of those images, to the same shape and type."""


@dataclass(frozen=True, slots=True)
class Arrays:
    """A split in memory: pixels uint8 (N, S, S, 3) as InputSpec.render makes them, labels int64 (N,)."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast one model is trained; the recipe's [teacher] or [train]."""

    epochs: int
    lr: float
    weight_decay: float
    batch_size: int
    warmup: float
    patience: int
    precision: str
    seed: int
    views: int = 0
    """Distinct views of each image, taken in turn; 0 draws new ones every epoch."""

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step: a linear rise, then half a cosine to zero."""
        rise = max(1, round(self.warmup * steps))
        if step < rise:
            return self.lr * (step + 1) / rise
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


@dataclass(frozen=True, slots=True)
class EpochLog:
    """One line of a run's log. Losses are means over the epoch's training images; `best` says if validation rose."""

    stage: str
    epoch: int
    epochs: int
    loss: float
    task: float
    distill: float
    val_loss: float
    val_balanced_accuracy: float
    best: bool
    lr: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class _State:
    """What a checkpoint holds besides tensors."""

    epoch: int = 0
    since_best: int = 0
    best_accuracy: float = -1.0
    best_loss: float = math.inf


class CheckpointError(ValueError):
    """A checkpoint that cannot be resumed from; the message says why and what to do."""


def fit(
    distiller: Distiller,
    train: Arrays,
    val: Arrays,
    schedule: Schedule,
    spec: InputSpec,
    augment: Augment,
    stage: str,
    checkpoint: Path | None = None,
    answers: Answers | None = None,
) -> Iterator[EpochLog]:
    """Train `distiller.student`; when the iterator ends it holds the weights that were best on `val`.

    With `answers` (and `schedule.views`) the teacher's part of a batch is taken from there. With `checkpoint` every
    epoch is kept there (written beside, synced, renamed) and a run goes on from it.
    Raises CheckpointError if it is of another model; ValueError if the loss stops being a number.
    """
    fabric = Fabric(accelerator="auto", devices=1, precision=schedule.precision)  # type: ignore[arg-type]
    fabric.to_device(distiller).to(memory_format=torch.channels_last)
    if distiller.teacher is not None:
        fabric.to_device(distiller.teacher).to(memory_format=torch.channels_last)
    optimizer = fabric.setup_optimizers(_optimizer(distiller, schedule))
    state, best = _State(), _copy(distiller.student)
    if checkpoint is not None and checkpoint.is_file():
        state, best = _restore(checkpoint, distiller, optimizer)
    while state.epoch < schedule.epochs and not (schedule.patience and state.since_best >= schedule.patience):
        began = time.perf_counter()
        losses, lr = _epoch(fabric, distiller, optimizer, train, schedule, spec, augment, state.epoch, answers)
        val_loss, accuracy = validate(fabric, distiller.student, val, spec)
        improved = (accuracy, -val_loss) > (state.best_accuracy, -state.best_loss)
        state.epoch, state.since_best = state.epoch + 1, 0 if improved else state.since_best + 1
        if improved:
            state.best_accuracy, state.best_loss, best = accuracy, val_loss, _copy(distiller.student)
        if checkpoint is not None:
            _save(checkpoint, distiller, optimizer, state, best)
        seconds = time.perf_counter() - began
        yield EpochLog(
            stage, state.epoch, schedule.epochs, *losses, val_loss, accuracy, improved, lr, round(seconds, 2)
        )
    distiller.student.load_state_dict(best)
    distiller.student.eval()


def _epoch(
    fabric: Fabric,
    distiller: Distiller,
    optimizer: Any,
    train: Arrays,
    schedule: Schedule,
    spec: InputSpec,
    augment: Augment,
    epoch: int,
    answers: Answers | None,
) -> tuple[tuple[float, float, float], float]:
    """One pass over the training images: mean (total, task, distill) and the last learning rate."""
    seed = schedule.seed * 1_000_003 + epoch
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    batches = _batches(len(train), schedule.batch_size, generator)
    view = epoch % schedule.views if schedule.views else None
    draws = augment.draw(len(train), generator if view is None else torch.Generator().manual_seed(VIEWS_SEED + view))
    taught = answers.view(view, draws) if answers is not None and view is not None else None
    sums, seen, lr = torch.zeros(3), 0, schedule.lr
    distiller.train()
    for number, index in enumerate(batches):
        lr = schedule.rate(epoch * len(batches) + number, schedule.epochs * len(batches))
        for group in optimizer.param_groups:
            group["lr"] = lr
        x = augment.see(train.pixels[index].permute(0, 3, 1, 2), draws[index]).permute(0, 2, 3, 1)  # (B, S, S, 3)
        batch = Batch(
            fabric.to_device(spec.normalise(x)).to(memory_format=torch.channels_last),
            fabric.to_device(train.labels[index]),
            epoch / schedule.epochs,
            fabric.to_device(index),
            teacher=_part_of(taught, index, fabric),
        )
        with fabric.autocast():
            losses = distiller(batch)
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(losses["total"])
        optimizer.step()
        distiller.after_step()
        sums += torch.stack([losses[k].detach().float().cpu() for k in ("total", "task", "distill")]) * len(index)
        seen += len(index)
    if not bool(torch.isfinite(sums).all()):
        raise ValueError(f"The loss is no number after epoch {epoch + 1}; a finite one was expected. Lower the rate.")
    total, task, distill = (sums / seen).tolist()
    return (total, task, distill), lr


def _part_of(view: View | None, index: Tensor, fabric: Fabric) -> View | None:
    """A batch's rows of a whole set's view."""
    if view is None:
        return None
    return View(fabric.to_device(view.logits[index]), [fabric.to_device(maps[index]) for maps in view.features])


def _batches(count: int, size: int, generator: torch.Generator) -> list[Tensor]:
    """Shuffled index batches; a last batch of one joins its neighbor, since batch norm needs two."""
    parts = list(torch.split(torch.randperm(count, generator=generator), size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


@torch.no_grad()
def logits_of(model: Classifier, split: Arrays, spec: InputSpec, batch_size: int = 64) -> Tensor:
    """Logits float32 (N, K) of every image of a split, in order, on the CPU. The model is left in eval mode."""
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model(spec.normalise(p).to(device)).float().cpu() for p in torch.split(split.pixels, batch_size)])


def validate(fabric: Fabric, model: Classifier, val: Arrays, spec: InputSpec) -> tuple[float, float]:
    """Cross-entropy (nats) and balanced accuracy (0 to 1) of a model on a split."""
    with fabric.autocast():
        logits = logits_of(model, val, spec)
    hits = (logits.argmax(1) == val.labels).float()
    recalls = [hits[val.labels == c].mean() for c in torch.unique(val.labels)]
    return float(F.cross_entropy(logits, val.labels)), float(torch.stack(recalls).mean())


def _optimizer(distiller: Distiller, schedule: Schedule) -> torch.optim.Optimizer:
    """AdamW; vectors (biases, batch norm) are not decayed."""
    trainable = [p for p in distiller.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=schedule.lr)


def _copy(model: Classifier) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def _save(path: Path, distiller: Distiller, optimizer: Any, state: _State, best: dict[str, Tensor]) -> None:
    moments = optimizer.state_dict()["state"]
    tensors = {f"model.{k}": v.contiguous().clone() for k, v in distiller.state_dict().items()}
    tensors |= {f"best.{k}": v.contiguous() for k, v in best.items()}
    tensors |= {f"optim.{i}.{k}": v.contiguous() for i, values in moments.items() for k, v in values.items()}
    beside = path.with_suffix(".part")
    save_file(tensors, beside, metadata={"state": json.dumps(asdict(state))})
    with beside.open("rb") as handle:
        os.fsync(handle.fileno())
    beside.replace(path)


def _restore(path: Path, distiller: Distiller, optimizer: Any) -> tuple[_State, dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
            state = _State(**json.loads(file.metadata()["state"]))
        parts = {name: _part(tensors, name) for name in ("model", "best", "optim")}
        distiller.load_state_dict(parts["model"])
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in parts["optim"].items():
            index, name = key.split(".")
            moments.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint {path.name} does not fit this recipe ({type(error).__name__}); "
            f"one of the same models was expected. Resume with the run's own recipe, or start a new run."
        ) from error
    return state, parts["best"]


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
