"""The training loop, on Lightning Fabric. It yields one EpochRecord per epoch and knows neither pages nor methods.

Every random choice of an epoch hangs on (seed, epoch) alone, so a run resumed from its last checkpoint goes on exactly
as it would have: order, augmentation and dropout are drawn anew from that pair.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2  # type: ignore[import-untyped, unused-ignore]

from kdlight.distillers import Batch, Distiller, View
from kdlight.models.base import Classifier
from kdlight.preprocessing import InputSpec
from kdlight.runs import EpochRecord, Phase
from kdlight.runs.progress import say
from kdlight.training import checkpoint as checkpoints
from kdlight.training.batches import index_batches, keep_freed_memory, prefetch, shuffled
from kdlight.training.checkpoint import Progress
from kdlight.training.data import Arrays
from kdlight.training.teacher_cache import TeacherCache

VIEWS_SEED = 1_000
"""Where the views of a recipe with a fixed number of them begin: one for all seeds, so that they share the teacher."""

PARTS = ("total", "task", "distill")
"""Of the loss, as a method returns them and a log keeps them."""


class Augment(Protocol):
    """Random views of images, drawn for a whole set at once: `kdlight.preprocessing.augment.RandomView`."""

    def draw(self, count: int, generator: torch.Generator | None = None) -> Any:
        """What becomes of each of `count` images; indexed by an index tensor."""

    def see(self, pixels: Tensor, draws: Any) -> Tensor:
        """uint8 (B, 3, S, S) under the draws of those images, to the same shape and type."""


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
    """As in the recipe's sections."""

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


def fit(
    loop: Loop,
    val: Arrays,
    phase: Phase,
    checkpoint: Path | None = None,
    keep: Callable[[EpochRecord], None] | None = None,
    tell: Callable[[str], None] = say,
) -> Iterator[EpochRecord]:
    """Train a loop's student; when the iterator ends it holds the weights that were best on `val`,
    or with the schedule's `swa` the mean of those of the last epochs.

    phase: what the records are of. With `checkpoint` every epoch is saved there and a training goes on from it.
    `keep` is called with each epoch's record before the epoch is saved, so that a training that goes on missed none;
    `tell` with a sentence where a checkpoint was damaged and it goes on from the one before.
    Raises CheckpointError if the checkpoint is of another model; ValueError if the loss is NaN or infinite.
    """
    keep_freed_memory()
    distiller, schedule = loop.distiller, loop.schedule
    progress = Progress.of(distiller.student, averaged=bool(schedule.swa))
    if checkpoint is not None and (sentence := checkpoints.restore(checkpoint, distiller, loop.optimizer, progress)):
        tell(sentence)
    state = progress.state
    while state.epoch < schedule.epochs and not (schedule.patience and state.since_best >= schedule.patience):
        record = _epoch(loop, progress, val, phase)
        if keep is not None:
            keep(record)
        if checkpoint is not None:
            checkpoints.save(checkpoint, distiller, loop.optimizer, progress)
        yield record
    distiller.student.load_state_dict(progress.final(loop.unchanged()))
    distiller.student.eval()


def _epoch(loop: Loop, progress: Progress, val: Arrays, phase: Phase) -> EpochRecord:
    """Train one epoch more and validate; `progress` is then past it."""
    began = time.perf_counter()
    student, schedule, state = loop.distiller.student, loop.schedule, progress.state
    trained = loop.epoch(state.epoch)
    val_loss, accuracy = validate(loop.fabric, student, val, loop.spec)
    counts = state.epoch >= loop.distiller.best_epoch_from * schedule.epochs or state.epoch + 1 == schedule.epochs
    improved = progress.take(student, val_loss, accuracy, counts)
    if progress.mean is not None and state.epoch > schedule.averaged_from:
        progress.mean.update_parameters(student)
    return EpochRecord(
        phase=phase,
        epoch=state.epoch,
        epochs=schedule.epochs,
        loss=trained["loss"],
        task=trained["task"],
        distill=trained["distill"],
        lr=trained["lr"],
        val_loss=val_loss,
        val_balanced_accuracy=accuracy,
        best=improved,
        seconds=round(time.perf_counter() - began, 2),
    )


@dataclass(frozen=True, slots=True)
class Loop:
    """One training's fixed parts, and what is done in each of its epochs."""

    distiller: Distiller
    train: Arrays
    schedule: Schedule
    spec: InputSpec
    augment: Augment
    teacher_cache: TeacherCache | None
    fabric: Fabric
    optimizer: Any

    @classmethod
    def of(
        cls,
        distiller: Distiller,
        train: Arrays,
        schedule: Schedule,
        spec: InputSpec,
        augment: Augment,
        teacher_cache: TeacherCache | None = None,
    ) -> Self:
        """Before the first epoch: the models on their device, channels last, and a new optimizer.

        With a `teacher_cache` (and `schedule.views`) the teacher's outputs for a batch are read from there.
        """
        fabric = Fabric(accelerator="auto", devices=1, precision=schedule.precision)  # type: ignore[arg-type]
        for model in (distiller, distiller.teacher):
            if model is not None:
                fabric.to_device(model).to(memory_format=torch.channels_last)
        optimizer = fabric.setup_optimizers(_optimizer(distiller, schedule))
        return cls(distiller, train, schedule, spec, augment, teacher_cache, fabric, optimizer)

    def epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the training images: mean loss, task and distill, and the last learning rate lr.

        Raises ValueError if the loss is NaN or infinite.
        """
        seed = self.schedule.seed * 1_000_003 + epoch
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        batches = index_batches(len(self.train), self.schedule.batch_size, generator)
        draws, taught = self.view(epoch, generator)
        sums, lr = torch.zeros(3), self.schedule.lr
        self.distiller.train()
        with closing(prefetch(lambda index: self.see(index, draws), batches)) as seen:
            for number, (index, x) in enumerate(zip(batches, seen, strict=True)):
                lr = self.schedule.rate(epoch * len(batches) + number, self.schedule.epochs * len(batches))
                for group in self.optimizer.param_groups:
                    group["lr"] = lr
                losses = self.step(self.batch(index, x, taught, epoch))
                sums += torch.stack([losses[k].detach().float().cpu() for k in PARTS]) * len(index)
        if not bool(torch.isfinite(sums).all()):
            raise ValueError(f"The loss is NaN or infinite after epoch {epoch + 1}; lower the learning rate (lr).")
        return dict(zip(("loss", *PARTS[1:]), (sums / len(self.train)).tolist(), strict=True)) | {"lr": lr}

    def view(self, epoch: int, generator: torch.Generator) -> tuple[Any, View | None]:
        """How each image is seen in an epoch, and the teacher's outputs for it where they are cached."""
        if not self.schedule.views:
            return self.augment.draw(len(self.train), generator), None
        number = epoch % self.schedule.views
        draws = self.augment.draw(len(self.train), torch.Generator().manual_seed(VIEWS_SEED + number))
        return draws, self.teacher_cache.view(number, draws) if self.teacher_cache is not None else None

    def see(self, index: Tensor, draws: Any) -> Tensor:
        """Images of a batch as they are drawn: float32 (B, 3, S, S). Draws nothing itself, so a thread may do it."""
        pixels = self.train.pixels.index_select(0, index).permute(0, 3, 1, 2)
        x = self.spec.normalise(self.augment.see(pixels, draws[index]).permute(0, 2, 3, 1))
        return x.to(memory_format=torch.channels_last)

    def batch(self, index: Tensor, x: Tensor, taught: View | None, epoch: int) -> Batch:
        """Images as `see` makes them, mixed where the schedule mixes, with all that a method may read of them."""
        x, target = self.mixed(x, self.train.labels[index])
        place = self.fabric.to_device
        return Batch(
            place(x).to(memory_format=torch.channels_last),
            place(self.train.labels[index]),
            epoch / self.schedule.epochs,
            place(index),
            place(target) if target is not None else None,
            taught.rows(index, place) if taught is not None else None,
        )

    def mixed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images mixed in pairs and their soft labels (B, K), where the schedule mixes; else as they came, None.

        mixup: Zhang et al. 2018; cutmix: Yun et al. 2019; both draw from torch's global generator.
        """
        shapes = {v2.MixUp: self.schedule.mixup, v2.CutMix: self.schedule.cutmix}
        kinds = [kind for kind, shape in shapes.items() if shape]
        if not kinds:
            return x, None
        kind = kinds[int(torch.randint(len(kinds), ()))]
        seen, target = kind(alpha=shapes[kind], num_classes=self.distiller.student.num_classes)(x, y)
        return seen, target

    def step(self, batch: Batch) -> dict[str, Tensor]:
        with self.fabric.autocast():
            losses: dict[str, Tensor] = self.distiller(batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(losses["total"])
        self.optimizer.step()
        self.distiller.after_step()
        return losses

    def unchanged(self) -> Iterator[Tensor]:
        """The training images as they are, in batches on the device: see `shuffled`."""
        for pixels in shuffled(self.train.pixels, self.schedule.seed):
            yield self.fabric.to_device(self.spec.normalise(pixels))


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
