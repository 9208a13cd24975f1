"""How fast a pair is: the networks' medians by a benchmark that timed both in one run, and what they were timed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from kdlight.bundle.part import Count, LenientPart, Line
from kdlight.contracts.reading import ROLES, Role

TORCH, CHANNELS_LAST, ONNX = "torch eager", "torch eager, channels last", "ONNX Runtime"
NAMES = {
    f"{role}, {engine}": {"role": role, "engine": engine} for role in ROLES for engine in (TORCH, CHANNELS_LAST, ONNX)
}
"""Rows of the card's first version have one of these in place of role and engine."""


class Machine(LenientPart):
    """Processor, cores, memory and versions; nothing that names the machine or its owner."""

    cpu: Line
    cores: Count
    memory_gb: float | None = None
    system: str = ""
    python: str = ""
    torch: str = ""
    onnxruntime: str = ""
    numpy: str = ""


class NetworkTime(LenientPart):
    """Milliseconds of one image, prepared input to logits."""

    role: Role
    engine: Line
    p50_ms: float = Field(gt=0, le=1e9)
    p95_ms: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_a_name(cls, row: Any) -> Any:
        return {**NAMES.get(row.get("name", ""), {}), **row} if isinstance(row, Mapping) else row


class Speed(LenientPart):
    """A benchmark as a card keeps it. The student's time is that on the engine that ships.

    The teacher's is on the same engine where it was timed there: the networks are compared, not what runs them.
    """

    machine: Machine
    size: Count
    """Side of the models' input in pixels."""
    threads: Count
    warmups: Count | None = None
    runs: Count
    rows: tuple[NetworkTime, ...] = Field(max_length=100)

    @field_validator("rows", mode="before")
    @classmethod
    def _networks_alone(cls, rows: Any) -> Any:
        """A whole report has rows of other routes too."""
        return [row for row in rows if not isinstance(row, Mapping) or row.get("route", "network") == "network"]

    @model_validator(mode="after")
    def _has_both(self) -> Speed:
        if not self._times("student", ONNX) or not self._times("teacher", ONNX, TORCH):
            raise ValueError("A time of the student on ONNX Runtime and one of the teacher were expected.")
        return self

    @classmethod
    def of(cls, report: Mapping[str, Any] | None) -> Speed | None:
        """Of the JSON of a latency report; None where there is none, or what is there is none."""
        try:
            return cls.model_validate(report)
        except ValidationError:
            return None

    @property
    def teacher_ms(self) -> float:
        return self._times("teacher", ONNX, TORCH)[0].p50_ms

    @property
    def student_ms(self) -> float:
        return self._times("student", ONNX)[0].p50_ms

    @property
    def engine(self) -> str:
        """What the teacher ran on."""
        return self._times("teacher", ONNX, TORCH)[0].engine

    @property
    def same_engine(self) -> bool:
        """Whether the student ran on the same."""
        return self.engine == ONNX

    @property
    def times_faster(self) -> float:
        return self.teacher_ms / self.student_ms

    def _times(self, role: Role, *engines: str) -> list[NetworkTime]:
        """The rows of a model, in the order of the engines."""
        return [row for engine in engines for row in self.rows if (row.role, row.engine) == (role, engine)]
