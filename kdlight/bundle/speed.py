"""How fast a pair is: the networks' medians by a benchmark that timed both in one run, and what they were timed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from kdlight.reading import Role

TORCH, CHANNELS_LAST, ONNX = "torch eager", "torch eager, channels last", "ONNX Runtime"


class Machine(BaseModel):
    """Processor, cores, memory and versions; nothing that names the machine or its owner."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    cpu: str
    cores: int
    memory_gb: float | None = None
    system: str = ""
    python: str = ""
    torch: str = ""
    onnxruntime: str = ""
    numpy: str = ""


class NetworkTime(BaseModel):
    """Milliseconds of one image, prepared input to logits."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: Role
    engine: str
    p50_ms: float
    p95_ms: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_a_name(cls, row: Any) -> Any:
        """Rows of before version 2 of the card have one of five names in place of role and engine."""
        if isinstance(row, Mapping) and "role" not in row:
            return {**row, **NAMES.get(row.get("name", ""), {})}
        return row


NAMES: Mapping[str, Mapping[str, str]] = {
    f"{role}, {engine}": {"role": role, "engine": engine}
    for role, engine in (
        ("teacher", TORCH),
        ("teacher", CHANNELS_LAST),
        ("teacher", ONNX),
        ("student", TORCH),
        ("student", ONNX),
    )
}


class Speed(BaseModel):
    """A benchmark as a card keeps it. The student's time is that on the engine that ships.

    The teacher's is on the same engine where it was timed there: the networks are compared, not what runs them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    machine: Machine
    size: int
    """Side of the models' input in pixels."""
    threads: int
    warmups: int | None = None
    runs: int
    rows: tuple[NetworkTime, ...]

    @field_validator("rows", mode="before")
    @classmethod
    def _networks_alone(cls, rows: Any) -> Any:
        """A whole report has rows of other routes too."""
        return [row for row in rows if not isinstance(row, Mapping) or row.get("route", "network") == "network"]

    @model_validator(mode="after")
    def _has_both(self) -> Speed:
        if self._time("student", ONNX) is None or self._teacher is None:
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
        return self._teacher.p50_ms if self._teacher else float("nan")

    @property
    def student_ms(self) -> float:
        student = self._time("student", ONNX)
        return student.p50_ms if student else float("nan")

    @property
    def engine(self) -> str:
        """What the teacher ran on."""
        return self._teacher.engine if self._teacher else ""

    @property
    def same_engine(self) -> bool:
        """Whether the student ran on the same."""
        return self.engine == ONNX

    @property
    def times_faster(self) -> float:
        return self.teacher_ms / self.student_ms

    @property
    def _teacher(self) -> NetworkTime | None:
        return self._time("teacher", ONNX) or self._time("teacher", TORCH)

    def _time(self, role: Role, engine: str) -> NetworkTime | None:
        return next((row for row in self.rows if (row.role, row.engine) == (role, engine)), None)
