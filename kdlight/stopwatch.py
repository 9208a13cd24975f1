"""Times of several ways to do the same, taken in turns, so that a busy moment hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Speed:
    """Medians of a benchmark that timed teacher and student in turns, and what they were measured on."""

    teacher_ms: float
    student_ms: float
    engine: str
    """What the teacher ran on."""
    same_engine: bool
    """Whether the student ran on the same."""
    size: int
    """Side of the models' input in pixels."""
    threads: int
    runs: int
    cpu: str
    cores: int

    @property
    def times_faster(self) -> float:
        return self.teacher_ms / self.student_ms

    @classmethod
    def of(cls, report: Mapping[str, Any] | None) -> Speed | None:
        """From the report of a latency benchmark, as measured or as a card keeps it; None where there is none.

        The teacher's time is that on the student's engine where it was measured too: the networks are compared, not
        what runs them.
        """
        try:
            report = report or {}
            p50 = {row["name"]: float(row["p50_ms"]) for row in report["rows"]}
            student = report["candidate"]
            same = student.replace("student", "teacher", 1)
            teacher = same if same in p50 else report["baseline"]
            on = report["machine"]
            return cls(
                teacher_ms=p50[teacher],
                student_ms=p50[student],
                engine=teacher.partition(", ")[2],
                same_engine=teacher == same,
                size=int(report["size"]),
                threads=int(report["threads"]),
                runs=int(report["runs"]),
                cpu=str(on["cpu"]),
                cores=int(on["cores"]),
            )
        except (KeyError, TypeError, ValueError):
            return None


def race(
    ways: Mapping[str, Callable[[], Any]], rounds: int, warmups: int, seed: int = 0, progress: Progress | None = None
) -> dict[str, list[float]]:
    """Milliseconds of each call, `rounds` of each way, after `warmups` rounds that are not counted.

    Every round calls each way once, in an order drawn anew. progress(done, total) counts rounds.
    """
    rng = np.random.default_rng(seed)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warmups + rounds):
        for name in rng.permutation(list(ways)).tolist():
            started = time.perf_counter()
            ways[name]()
            if number >= warmups:
                times[name].append((time.perf_counter() - started) * 1000)
        if progress is not None:
            progress(number + 1, warmups + rounds)
    return times


def row(name: str, taken: list[float]) -> dict[str, Any]:
    """A report's row: median and 95th percentile in milliseconds."""
    p50, p95 = np.percentile(taken, (50, 95)).tolist()
    return {"name": name, "p50_ms": p50, "p95_ms": p95}


def ratio(times: Mapping[str, list[float]], first: str, second: str) -> float:
    """How many times as long `first` takes as `second`: the median over rounds of the two times of one round."""
    return float(np.median(np.array(times[first]) / np.array(times[second])))
