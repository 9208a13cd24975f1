"""How fast things are, by one timer: readings, heat maps, folders of files and training."""

from kdlight.benchmark.batch import BatchReport, throughput
from kdlight.benchmark.explain import ExplainReport, explain_speed
from kdlight.benchmark.latency import LatencyReport, latency, quiet_latency, record
from kdlight.benchmark.timer import BusyError
from kdlight.benchmark.training import BenchmarkError, TrainingReport, epochs

__all__ = [
    "BatchReport",
    "BenchmarkError",
    "BusyError",
    "ExplainReport",
    "LatencyReport",
    "TrainingReport",
    "epochs",
    "explain_speed",
    "latency",
    "quiet_latency",
    "record",
    "throughput",
]
