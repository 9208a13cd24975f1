"""What every distillation method shares: a frozen teacher, the task loss, and one sum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.contracts.options import Option, checked
from kdlight.models.base import Classifier

Task = Literal["binary", "multi-class", "multi-label"]
Needs = Literal["nothing", "logits", "pooled", "features"]
"""What a method takes from the teacher, from the least to the most: each one includes those before it."""
Alpha = Annotated[
    float,
    Option(
        "Weight of the teacher's output against the labels in the student's loss: 0 is the labels alone, 1 the teacher "
        "alone.",
        ge=0,
        le=1,
    ),
]
Temperature = Annotated[
    float,
    Option(
        "How far outputs are softened before the student copies them. At 1 they stay as they are; higher shows more of "
        "what the teacher thinks of the less likely classes.",
        gt=0,
    ),
]
TRIAL_SIDE = 64
"""Pixels of the trial image, but for networks that insist on another side."""


@dataclass(frozen=True, slots=True)
class View:
    """What one network made of a batch: logits (B, K), and its feature maps (B, C, h, w), the last before pooling."""

    logits: Tensor
    features: list[Tensor]

    def rows(self, index: Tensor, place: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> View:
        """That of some of the images, each tensor put where `place` puts it."""
        return View(place(self.logits[index]), [place(maps[index]) for maps in self.features])


@dataclass(frozen=True, slots=True)
class Batch:
    """x (B, 3, H, W) standardized, y (B,) class indices with -1 where the label is not known.

    progress: epochs done, 0 to below 1 of the whole run. index (B,): places in the training split. target (B, K): soft
    labels of mixed images. teacher: the teacher's view where it is cached; then the teacher is not run.
    """

    x: Tensor
    y: Tensor
    progress: float = 0.0
    index: Tensor | None = None
    target: Tensor | None = None
    teacher: View | None = None


class Distiller(nn.Module, ABC):
    """A method. Subclasses declare their options as annotated attributes and write `distill`.

    total = (1 - alpha) * task + distill, where distill carries its own weight. The teacher is frozen here and nowhere
    else: eval mode, no gradient, not among `parameters()`, not in `state_dict()`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """What the student learns, in one line for people."""
    paper: ClassVar[str]
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multi-class")
    needs: ClassVar[Needs]
    """What the method takes from the teacher; logits and pooled features can be cached."""
    unlabeled: ClassVar[bool] = True
    """Whether `distill` is defined for images whose label is not known."""
    mixable: ClassVar[bool] = True
    """Whether it is defined for images that mixup or cutmix made of two."""
    alpha: float = 0.0
    """Share of the task loss that the method gives up, 0 to 1."""
    best_epoch_from: float = 0.0
    """Share of the run, 0 to 1, before which validation says nothing of the method: no epoch before it is the best one,
    and none counts towards train.patience. The last epoch always counts."""
    partner: Classifier | None
    """A second model like the student that learns beside it, where the method has one."""
    teacher_bfloat16: bool = False
    """Run the teacher in bfloat16: where the processor has it, that costs two thirds of float32."""

    def __init__(
        self,
        student: Classifier,
        teacher: Classifier | None,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
        focal: float = 0.0,
        **options: Any,
    ) -> None:
        """focal: exponent of the focal task loss, 0 is cross-entropy; it has no label smoothing. options: the method's.

        Raises ValueError for a task that the method is not defined for, an option that is unknown or not as declared,
        or where the method needs a teacher and there is none.
        """
        super().__init__()
        task: Task = "binary" if student.num_classes == 2 else "multi-class"
        if task not in self.tasks:
            raise ValueError(f"{self.name} supports {' and '.join(self.tasks)} tasks, not {task}. Take another method.")
        for name, value in checked(type(self), options, "distill").items():
            setattr(self, name, value)
        self.student = student
        self.partner = None
        self.task_loss = (
            FocalLoss(focal, class_weights)
            if focal
            else nn.CrossEntropyLoss(weight=class_weights, label_smoothing=label_smoothing)
        )
        if teacher is None and self.needs != "nothing":
            raise ValueError(f"{self.name} needs a teacher; none was given. Give it one, or use the method alone.")
        self._frozen = [teacher.eval().requires_grad_(False)] if teacher is not None else []
        self.build()

    def build(self) -> None:
        """Make what the method trains or remembers beside the student; called once, when its options are set."""

    @property
    def teacher(self) -> Classifier | None:
        return self._frozen[0] if self._frozen else None

    @property
    def teacher_model(self) -> Classifier:
        """The teacher of a method that needs one."""
        return self._frozen[0]

    @abstractmethod
    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        """The method's loss, a scalar, already weighted."""

    def choose(self, batch: Batch) -> Batch:
        """The part of a batch to learn from; all of it unless a method picks."""
        return batch

    def after_step(self) -> None:
        """Called after each step of the optimizer: moving averages, projections."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """One training batch to {"task", "distill", "total"}, scalars."""
        batch = self.choose(batch)
        student = View(*self.student.forward_with_features(batch.x))
        task = self.task(student.logits.float(), batch)
        distill = self.distill(student, self.teacher_view(batch), batch)
        return {"task": task, "distill": distill, "total": (1 - self.alpha) * task + distill}

    def task(self, logits: Tensor, batch: Batch) -> Tensor:
        """The loss on the labels, over the images that have one; 0 if none has."""
        if batch.target is not None:
            return self.task_loss(logits, batch.target)  # type: ignore[no-any-return]
        known = batch.y >= 0
        if not bool(known.any()):
            return logits.sum() * 0
        return self.task_loss(logits[known], batch.y[known])  # type: ignore[no-any-return]

    def teacher_view(self, batch: Batch) -> View:
        """What the teacher makes of a batch, without gradient; empty for a method that takes nothing from it."""
        if batch.teacher is not None:
            return batch.teacher
        if self.teacher is None or self.needs == "nothing":
            return View(batch.x.new_zeros(0), [])
        with torch.no_grad(), torch.autocast(batch.x.device.type, torch.bfloat16, enabled=self.teacher_bfloat16):
            return View(*self.teacher.forward_with_features(batch.x))


class FocalLoss(nn.Module):
    """-(1 - p_y)^gamma log p_y, weighed as nn.CrossEntropyLoss weighs (Lin et al., ICCV 2017, arXiv 1708.02002)."""

    def __init__(self, gamma: float, weight: Tensor | None = None) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("weight", weight, persistent=False)
        self.weight: Tensor | None

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        """Logits (B, K), y class indices (B,) or probabilities (B, K), to a scalar."""
        log_p = F.log_softmax(logits, dim=1)
        hard = not y.is_floating_point()
        target = F.one_hot(y, logits.shape[1]).to(log_p.dtype) if hard else y
        weighed = target if self.weight is None else target * self.weight
        missed = (1 - log_p.exp()).clamp_min(1e-6)  # the power of 0 has no slope for an exponent below 1
        loss = -(weighed * missed**self.gamma * log_p).sum()
        return loss / (weighed.sum() if hard else len(y))


def pooled(features: Tensor) -> Tensor:
    """Feature maps (B, C, h, w) to their spatial means (B, C)."""
    return features.mean(dim=(2, 3))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, momentum: float) -> None:
    """average = momentum average + (1 - momentum) model: weights and batch-norm statistics; counters are copied."""
    state = model.state_dict()
    for name, tensor in average.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(state[name], 1 - momentum)
        else:
            tensor.copy_(state[name])


@torch.no_grad()
def trial(model: Classifier) -> tuple[list[Tensor], int]:
    """The feature maps of an empty image, and its side; the model's mode is restored."""
    training = model.training
    fixed = (getattr(part, "size", None) for part in model.modules() if isinstance(part, Classifier))
    side = next((size[0] for size in fixed if size is not None), TRIAL_SIDE)
    maps = model.eval().forward_with_features(next(model.parameters()).new_zeros(1, 3, side, side))[1]
    model.train(training)
    return maps, side


def widths(model: Classifier) -> list[int]:
    """Channels of each feature map of a network."""
    return [m.shape[1] for m in trial(model)[0]]


def softened_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), mean over the batch; logits (B, K)."""
    log_p = F.log_softmax(student.float() / temperature, dim=1)
    log_q = F.log_softmax(teacher.float() / temperature, dim=1)
    return temperature**2 * F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
