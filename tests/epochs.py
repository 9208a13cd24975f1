"""Epochs of a run that nobody trained."""

from typing import Any

from kdlight.runs import EpochRecord, Phase


def epoch(phase: Phase, number: int, epochs: int = 3, **changes: Any) -> EpochRecord:
    """A record in which each value is another."""
    values = {"loss": 1.0, "task": 0.9, "distill": 0.1, "val_loss": 0.8, "val_balanced_accuracy": 0.5}
    fixed = {"phase": phase, "epoch": number, "epochs": epochs, "best": True, "lr": 0.01, "seconds": 0.1}
    return EpochRecord.model_validate(values | fixed | changes)
