"""What a training keeps, in memory and on disk: written beside, synced, then renamed, with a digest that is checked.

Of a training the last two checkpoints stay, so that a damaged one costs an epoch. Random numbers need none: they are
drawn anew from seed and epoch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, TypeAdapter
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

from kdlight.storage import UnreadableError, load_arrays, save_arrays


class CheckpointError(ValueError):
    """A checkpoint that cannot be resumed from; the message says why and what to do."""


@dataclass(slots=True)
class State:
    """What a checkpoint holds besides tensors."""

    epoch: Annotated[int, Field(ge=0)] = 0
    since_best: Annotated[int, Field(ge=0)] = 0
    best_accuracy: Annotated[float, Field(ge=-1, le=1)] = -1.0
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
    """Write the weights, the optimizer's moments and `progress` at `path`; the checkpoint before it is kept too."""
    parts = {"model": model.state_dict(), "best": progress.best}
    if progress.mean is not None:
        parts["mean"] = progress.mean.state_dict()
    moments = optimizer.state_dict()["state"]
    parts["optim"] = {f"{i}.{k}": v for i, values in moments.items() for k, v in values.items()}
    arrays = {f"{part}.{k}": array for part, tensors in parts.items() for k, array in _arrays(tensors).items()}
    if path.is_file():
        path.replace(_before(path))
    save_arrays(path, arrays, json.dumps(asdict(progress.state)))


def restore(path: Path, model: nn.Module, optimizer: Any, progress: Progress) -> str:
    """Bring all three to where `save` left them, or leave them where there is no checkpoint.

    Where the newest is damaged the one before is taken, and a sentence says so; else it is empty. Raises
    CheckpointError where both are damaged, or one is of another model.
    """
    damaged: list[str] = []
    for file in (path, _before(path)):
        try:
            arrays, about = load_arrays(file, older=True)
        except FileNotFoundError:
            continue
        except UnreadableError as error:
            damaged.append(str(error))
            continue
        _fill(file, arrays, about, model, optimizer, progress)
        return f"{damaged[0]} Training goes on from the one before, epoch {progress.state.epoch}." if damaged else ""
    if damaged:
        raise CheckpointError(f"{' '.join(damaged)} Delete it to train this model from its beginning, then resume.")
    return ""


def remove(path: Path) -> None:
    """Of a training that is finished."""
    for file in (path, _before(path)):
        file.unlink(missing_ok=True)


def save_weights(path: Path, model: nn.Module) -> None:
    """Write a model's weights with a digest over them."""
    save_arrays(path, _arrays(model.state_dict()))


def load_weights(path: Path, model: nn.Module) -> None:
    """Give a model the weights that `save_weights` wrote. Raises CheckpointError where they changed or do not fit."""
    try:
        model.load_state_dict(_tensors(load_arrays(path, older=True)[0]))
    except (FileNotFoundError, UnreadableError, RuntimeError) as error:
        why = "is of another model" if isinstance(error, RuntimeError) else "is damaged or gone"
        raise CheckpointError(f"{path.name} {why}; delete it and resume, which makes it anew.") from error


def _fill(
    path: Path, arrays: dict[str, np.ndarray], about: str, model: nn.Module, optimizer: Any, progress: Progress
) -> None:
    tensors = _tensors(arrays)
    try:
        progress.state = TypeAdapter(State).validate_json(about)
        model.load_state_dict(_part(tensors, "model"))
        progress.best = _part(tensors, "best")
        if progress.mean is not None:
            progress.mean.load_state_dict(_part(tensors, "mean"))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _part(tensors, "optim").items():
            index, name = key.split(".")
            moments.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    except (RuntimeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint {path.name} does not fit this recipe ({type(error).__name__}); "
            f"one of the same models was expected. Resume with the run's own recipe, or start a new run."
        ) from error


def _before(path: Path) -> Path:
    return path.with_name(f"previous.{path.name}")


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {k: v.detach().cpu().contiguous().numpy() for k, v in tensors.items()}


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    return {k: torch.from_numpy(v) for k, v in arrays.items()}


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
