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
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, update_bn

from kdlight.answers import Answers
from kdlight.distillers import Batch, Distiller, View
from kdlight.models.base import Classifier
from kdlight.preprocessing import InputSpec
from kdlight.preprocessing.augment import mixing

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
    mixup: float = 0.0
    cutmix: float = 0.0
    swa: float = 0.0
    """As in the recipe's [teacher]."""

    @property
    def averaged_from(self) -> int:
        """Epochs before the first whose weights are averaged."""
        return self.epochs - max(1, round(self.swa * self.epochs)) if self.swa else self.epochs

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
    """Train `distiller.student`; when the iterator ends it holds the weights that were best on `val`,
    or with `schedule.swa` the mean of those of the last epochs.

    With `answers` (and `schedule.views`) the teacher's part of a batch is taken from there. With `checkpoint` every
    epoch is kept there (written beside, synced, renamed) and a run goes on from it.
    Raises CheckpointError if it is of another model; ValueError if the loss stops being a number.
    """
    fabric = Fabric(accelerator="auto", devices=1, precision=schedule.precision)  # type: ignore[arg-type]
    fabric.to_device(distiller).to(memory_format=torch.channels_last)
    if distiller.teacher is not None:
        fabric.to_device(distiller.teacher).to(memory_format=torch.channels_last)
    loop = _Loop(fabric, distiller, train, schedule, spec, augment, answers)
    kept = _Kept(_State(), _copy(distiller.student), AveragedModel(distiller.student) if schedule.swa else None)
    optimizer = fabric.setup_optimizers(_optimizer(distiller, schedule))
    if checkpoint is not None and checkpoint.is_file():
        _restore(checkpoint, distiller, optimizer, kept)
    state = kept.state
    while state.epoch < schedule.epochs and not (schedule.patience and state.since_best >= schedule.patience):
        began = time.perf_counter()
        losses, lr = loop.epoch(optimizer, state.epoch)
        val_loss, accuracy = validate(fabric, distiller.student, val, spec)
        counts = state.epoch >= distiller.counts_from * schedule.epochs or state.epoch + 1 == schedule.epochs
        improved = kept.take(distiller.student, val_loss, accuracy, counts)
        if kept.mean is not None and state.epoch > schedule.averaged_from:
            kept.mean.update_parameters(distiller.student)
        if checkpoint is not None:
            _save(checkpoint, distiller, optimizer, kept)
        seconds = time.perf_counter() - began
        yield EpochLog(
            stage, state.epoch, schedule.epochs, *losses, val_loss, accuracy, improved, lr, round(seconds, 2)
        )
    distiller.student.load_state_dict(kept.final(train, spec))
    distiller.student.eval()


@dataclass(slots=True)
class _Kept:
    """What a training keeps besides the weights it is at: the best on validation, and the mean where one is asked."""

    state: _State
    best: dict[str, Tensor]
    mean: AveragedModel | None

    def take(self, student: Classifier, val_loss: float, accuracy: float, counts: bool = True) -> bool:
        """Add an epoch; returns whether it is the best so far, which one that does not count never is."""
        state = self.state
        improved = counts and (accuracy, -val_loss) > (state.best_accuracy, -state.best_loss)
        state.epoch, state.since_best = state.epoch + 1, state.since_best + 1 if counts and not improved else 0
        if improved:
            state.best_accuracy, state.best_loss, self.best = accuracy, val_loss, _copy(student)
        return improved

    def final(self, train: Arrays, spec: InputSpec) -> dict[str, Tensor]:
        """The weights that a training ends with: the mean, its batch norm estimated anew, else the best."""
        if self.mean is None or not int(self.mean.n_averaged):
            return self.best
        device = next(self.mean.parameters()).device
        update_bn((spec.normalise(part).to(device) for part in torch.split(train.pixels, 64)), self.mean)
        return _copy(self.mean.module)


@dataclass(frozen=True, slots=True)
class _Loop:
    """One training's fixed parts."""

    fabric: Fabric
    distiller: Distiller
    train: Arrays
    schedule: Schedule
    spec: InputSpec
    augment: Augment
    answers: Answers | None

    def epoch(self, optimizer: Any, epoch: int) -> tuple[tuple[float, float, float], float]:
        """One pass over the training images: mean (total, task, distill) and the last learning rate."""
        seed = self.schedule.seed * 1_000_003 + epoch
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        batches = _batches(len(self.train), self.schedule.batch_size, generator)
        draws, taught = self.view(epoch, generator)
        sums, lr = torch.zeros(3), self.schedule.lr
        self.distiller.train()
        for number, index in enumerate(batches):
            lr = self.schedule.rate(epoch * len(batches) + number, self.schedule.epochs * len(batches))
            for group in optimizer.param_groups:
                group["lr"] = lr
            losses = self.step(optimizer, self.batch(index, draws, taught, epoch))
            sums += torch.stack([losses[k].detach().float().cpu() for k in ("total", "task", "distill")]) * len(index)
        if not bool(torch.isfinite(sums).all()):
            raise ValueError(
                f"The loss is no number after epoch {epoch + 1}; a finite one was expected. Lower the rate."
            )
        total, task, distill = (sums / len(self.train)).tolist()
        return (total, task, distill), lr

    def view(self, epoch: int, generator: torch.Generator) -> tuple[Any, View | None]:
        """How each image is seen in an epoch, and what the teacher says of it where that is kept."""
        if not self.schedule.views:
            return self.augment.draw(len(self.train), generator), None
        number = epoch % self.schedule.views
        draws = self.augment.draw(len(self.train), torch.Generator().manual_seed(VIEWS_SEED + number))
        return draws, self.answers.view(number, draws) if self.answers is not None else None

    def batch(self, index: Tensor, draws: Any, taught: View | None, epoch: int) -> Batch:
        pixels = self.train.pixels[index].permute(0, 3, 1, 2)
        x = self.spec.normalise(self.augment.see(pixels, draws[index]).permute(0, 2, 3, 1))
        x, target = self.mixed(x, self.train.labels[index])
        place = self.fabric.to_device
        return Batch(
            place(x).to(memory_format=torch.channels_last),
            place(self.train.labels[index]),
            epoch / self.schedule.epochs,
            place(index),
            place(target) if target is not None else None,
            _part_of(taught, index, self.fabric),
        )

    def mixed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images mixed in pairs and their soft labels (B, K), where the schedule mixes; else as they came, None."""
        shapes = {"mixup": self.schedule.mixup, "cutmix": self.schedule.cutmix}
        names = [name for name, shape in shapes.items() if shape]
        if not names:
            return x, None
        name = names[int(torch.randint(len(names), ()))]
        mix = mixing(name, self.distiller.student.num_classes, shapes[name])
        seen, target = mix(x, y)  # type: ignore[misc]
        return seen, target

    def step(self, optimizer: Any, batch: Batch) -> dict[str, Tensor]:
        with self.fabric.autocast():
            losses: dict[str, Tensor] = self.distiller(batch)
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(losses["total"])
        optimizer.step()
        self.distiller.after_step()
        return losses


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


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def _save(path: Path, distiller: Distiller, optimizer: Any, kept: _Kept) -> None:
    moments = optimizer.state_dict()["state"]
    tensors = {f"model.{k}": v.contiguous().clone() for k, v in distiller.state_dict().items()}
    tensors |= {f"best.{k}": v.contiguous() for k, v in kept.best.items()}
    tensors |= {f"optim.{i}.{k}": v.contiguous() for i, values in moments.items() for k, v in values.items()}
    if kept.mean is not None:
        tensors |= {f"mean.{k}": v.contiguous().clone() for k, v in kept.mean.state_dict().items()}
    beside = path.with_suffix(".part")
    save_file(tensors, beside, metadata={"state": json.dumps(asdict(kept.state))})
    with beside.open("rb") as handle:
        os.fsync(handle.fileno())
    beside.replace(path)


def _restore(path: Path, distiller: Distiller, optimizer: Any, kept: _Kept) -> None:
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
            kept.state = _State(**json.loads(file.metadata()["state"]))
        distiller.load_state_dict(_part(tensors, "model"))
        kept.best = _part(tensors, "best")
        if kept.mean is not None:
            kept.mean.load_state_dict(_part(tensors, "mean"))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _part(tensors, "optim").items():
            index, name = key.split(".")
            moments.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint {path.name} does not fit this recipe ({type(error).__name__}); "
            f"one of the same models was expected. Resume with the run's own recipe, or start a new run."
        ) from error


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
