"""What a training keeps, in memory and on disk: a checkpoint is written beside, synced, then renamed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

from kdlight.storage import replacing


class CheckpointError(ValueError):
    """A checkpoint that cannot be resumed from; the message says why and what to do."""


@dataclass(slots=True)
class State:
    """What a checkpoint holds besides tensors."""

    epoch: int = 0
    since_best: int = 0
    best_accuracy: float = -1.0
    best_loss: float = math.inf


@dataclass(slots=True)
class Progress:
    """Where a training is, besides its weights: the best on validation, and their mean where one is asked for."""

    best: dict[str, Tensor]
    mean: AveragedModel | None
    state: State = field(default_factory=State)

    @classmethod
    def of(cls, model: nn.Module, averaged: bool) -> Progress:
        """Before the first epoch: the first weights are the best so far."""
        return cls(copied(model), AveragedModel(model) if averaged else None)

    def take(self, model: nn.Module, val_loss: float, accuracy: float, counts: bool = True) -> bool:
        """Add an epoch; returns whether it is the best so far, which one that does not count never is."""
        state = self.state
        improved = counts and (accuracy, -val_loss) > (state.best_accuracy, -state.best_loss)
        state.epoch, state.since_best = state.epoch + 1, state.since_best + 1 if counts and not improved else 0
        if improved:
            state.best_accuracy, state.best_loss, self.best = accuracy, val_loss, copied(model)
        return improved

    def final(self, images: Iterable[Tensor]) -> dict[str, Tensor]:
        """The weights that a training ends with: the mean, its batch norm estimated anew on `images`, else the best.

        images: batches float32 (B, 3, S, S) of training images; not asked for where there is no mean.
        """
        if self.mean is None or not int(self.mean.n_averaged):
            return self.best
        update_bn(images, self.mean)
        return copied(self.mean.module)


def copied(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model as it is now."""
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def save(path: Path, model: nn.Module, optimizer: Any, progress: Progress) -> None:
    """Write the weights, the optimizer's moments and `progress` at `path`."""
    moments = optimizer.state_dict()["state"]
    tensors = {f"model.{k}": v.contiguous().clone() for k, v in model.state_dict().items()}
    tensors |= {f"best.{k}": v.contiguous() for k, v in progress.best.items()}
    tensors |= {f"optim.{i}.{k}": v.contiguous() for i, values in moments.items() for k, v in values.items()}
    if progress.mean is not None:
        tensors |= {f"mean.{k}": v.contiguous().clone() for k, v in progress.mean.state_dict().items()}
    with replacing(path) as beside:
        save_file(tensors, beside, metadata={"state": json.dumps(asdict(progress.state))})


def restore(path: Path, model: nn.Module, optimizer: Any, progress: Progress) -> None:
    """Bring all three to where `save` left them. Raises CheckpointError for a damaged file or one of another model."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
            progress.state = State(**json.loads(file.metadata()["state"]))
        model.load_state_dict(_part(tensors, "model"))
        progress.best = _part(tensors, "best")
        if progress.mean is not None:
            progress.mean.load_state_dict(_part(tensors, "mean"))
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
