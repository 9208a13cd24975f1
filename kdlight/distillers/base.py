"""What every distillation method shares: a frozen teacher, the task loss, and one sum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.models.base import Classifier

TASKS = ("binary", "multi-class", "multi-label")


@dataclass(frozen=True, slots=True)
class View:
    """What one network made of a batch: logits (B, K), and its feature maps (B, C, h, w), the last before pooling."""

    logits: Tensor
    features: list[Tensor]


@dataclass(frozen=True, slots=True)
class Batch:
    """x (B, 3, H, W) standardised, y (B,) class indices, epoch from 0 to 1 of the whole run."""

    x: Tensor
    y: Tensor
    progress: float = 0.0


class Distiller(nn.Module, ABC):
    """A method. Subclasses write `distill` only; their keyword arguments are their hyper-parameters.

    total = (1 - alpha) * task + distill, where distill carries its own weight. The teacher is frozen here and nowhere
    else: eval mode, no gradient, not among `trainable()`, not in `state()`.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multi-class")
    alpha: float = 0.0
    """Share of the task loss that the method gives up, 0 to 1."""
    teacher_bfloat16: bool = False
    """Ask the teacher in bfloat16: where the processor has it, that costs two thirds of float32."""

    def __init__(
        self,
        student: Classifier,
        teacher: Classifier | None,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.student = student
        self.task_loss = nn.CrossEntropyLoss(weight=class_weights, label_smoothing=label_smoothing)
        self._frozen = [teacher.eval().requires_grad_(False)] if teacher is not None else []

    @property
    def teacher(self) -> Classifier | None:
        return self._frozen[0] if self._frozen else None

    @classmethod
    def check_task(cls, task: str) -> None:
        """Raises ValueError if the method is not defined for `task` (one of TASKS)."""
        if task not in cls.tasks:
            raise ValueError(f"{cls.name} supports {' and '.join(cls.tasks)} tasks, not {task}. Choose another method.")

    @abstractmethod
    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        """The method's loss, a scalar, already weighted."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """One training batch to {"task", "distill", "total"}, scalars."""
        student = View(*self.student.forward_with_features(batch.x))
        task = self.task_loss(student.logits.float(), batch.y)
        if self.teacher is None:
            return {"task": task, "distill": task.new_zeros(()), "total": task}
        with torch.no_grad(), torch.autocast(batch.x.device.type, torch.bfloat16, enabled=self.teacher_bfloat16):
            teacher = View(*self.teacher.forward_with_features(batch.x))
        distill = self.distill(student, teacher, batch)
        return {"task": task, "distill": distill, "total": (1 - self.alpha) * task + distill}


def pooled(features: Tensor) -> Tensor:
    """Feature maps (B, C, h, w) to their spatial means (B, C)."""
    return features.mean(dim=(2, 3))


def softened_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), mean over the batch; logits (B, K)."""
    log_p = F.log_softmax(student.float() / temperature, dim=1)
    log_q = F.log_softmax(teacher.float() / temperature, dim=1)
    return temperature**2 * F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
