"""What a run writes down of itself: its status, its epochs, its process. Frozen and typed; older runs are read too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import psutil
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from kdlight.contracts.recipe import Effort

State = Literal["queued", "running", "stopped", "failed", "done"]
Phase = Literal["data", "teacher", "alone", "scratch", "same_start", "student", "calibrate", "bundle"]
LIVE: tuple[State, ...] = ("queued", "running")
SAME_START = 2.0
"""Seconds that two readings of one process's start time may differ, in a run of an older version; ours."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
LONGEST = 4_000
"""Characters of a message, whose rest is left out."""


def _shown(text: Any) -> Any:
    return text[:LONGEST].encode(errors="replace").decode() if isinstance(text, str) else text


Count = Annotated[int, Field(ge=0, le=10**9)]
Loss = Annotated[float, Field(ge=-3.5e38, le=3.5e38)]
"""Of float32."""
Seconds = Annotated[float, Field(ge=0, le=1e10)]
Time = Annotated[float, Field(ge=0, le=1e11)]
"""Seconds since 1970, before the year 5000."""
Message = Annotated[str, BeforeValidator(_shown)]


class Record(BaseModel):
    """A record of a run. Keys of another version are left out; a phase was called a stage once."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _older(cls, values: Any) -> Any:
        if isinstance(values, dict) and "stage" in values:
            return {"phase": values["stage"], **values}
        return values

    @classmethod
    def parse(cls, content: bytes | None) -> Self | None:
        """A record from JSON; None where it is not one."""
        try:
            return cls.model_validate_json(content or b"")
        except ValidationError:
            return None

    def to_json(self) -> str:
        return self.model_dump_json(exclude_none=True)


class EpochRecord(Record):
    """One epoch. Losses are means over its training images; `best` says whether validation rose."""

    phase: Phase
    epoch: Count
    epochs: Count
    loss: Loss
    task: Loss
    distill: Loss
    val_loss: Loss
    val_balanced_accuracy: Annotated[float, Field(ge=0, le=1)]
    best: bool
    lr: Loss
    seconds: Seconds
    seed: int | None = None
    """Of a study's run."""
    cell: str | None = None
    """Of a grid's study."""

    @property
    def training(self) -> str:
        """Which training it is an epoch of: the phase, in a study after the cell and the seed."""
        seed = None if self.seed is None else f"seed {self.seed}"
        return " ".join(filter(None, (self.cell, seed, self.phase)))

    def __str__(self) -> str:
        return (
            f"{self.training} {self.epoch}/{self.epochs}: loss {self.loss:.3f}, "
            f"validation balanced accuracy {self.val_balanced_accuracy:.3f}, {self.seconds:.1f} s"
        )


class RunStatus(Record):
    """Where a run is."""

    state: State
    phase: Phase = "data"
    epoch: Count = 0
    epochs: Count = 0
    started: Time = 0.0
    updated: Time = 0.0
    message: Message = ""
    """How it ended, or what it does."""
    note: Message = ""
    """What is to be known of it besides, such as that a checkpoint was damaged."""
    pid: int | None = None
    at_chance: tuple[Literal["teacher", "student"], ...] | None = None
    """Of a finished run: the models that are no better than chance; None where the run does not say."""
    effort: Effort | None = None
    expected_seconds: Seconds | None = None
    """What a trial of a few batches said before the start that the run would take."""

    def changed(self, **changes: Any) -> Self:
        """A checked copy. Raises pydantic.ValidationError."""
        return type(self).model_validate({**self.model_dump(), **changes})


class ProcessRecord(Record):
    """Which process a run belongs to: its number, the boot and the clock ticks after it at which it began.

    Numbers are given again, and a clock that is set does not change what the kernel counts from its start.
    """

    pid: Annotated[int, Field(ge=1, lt=2**31)]
    boot: str = ""
    ticks: int = 0
    created: Time = 0.0
    """Of an older version, or where the system does not say the other two."""
    folder: str = "."
    """Where it works: a recipe's paths are relative to that."""

    @classmethod
    def of(cls, pid: int, folder: str) -> Self:
        boot, ticks = _start(pid)
        try:
            created = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            created = 0.0
        return cls(pid=pid, boot=boot, ticks=ticks, created=created, folder=folder)

    def process(self) -> psutil.Process | None:
        """The process; None if it is gone, a zombie, or another one under the same number."""
        try:
            process = psutil.Process(self.pid)
            if self.boot:
                same = _start(self.pid) == (self.boot, self.ticks)
            else:
                same = abs(process.create_time() - self.created) < SAME_START
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (psutil.Error, ValueError):
            return None


def _start(pid: int) -> tuple[str, int]:
    """The id of the system's boot, and the ticks after it at which a process began; empty where Linux does not say."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]
        return BOOT.read_text().strip(), int(after_name.split()[19])
    except (OSError, ValueError, IndexError):
        return "", 0
