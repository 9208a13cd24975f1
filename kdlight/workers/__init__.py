"""Warm worker processes with a bounded queue: the only way the app reaches a model. Nothing here imports torch."""

from kdlight.workers.errors import QueueFull, RequestCancelled, WorkerDied, WorkerError
from kdlight.workers.pool import Workers
from kdlight.workers.requests import HeatMaps, Latency, Read, Request, Verify, Warm
from kdlight.workers.ticket import Ticket

__all__ = [
    "HeatMaps",
    "Latency",
    "QueueFull",
    "Read",
    "Request",
    "RequestCancelled",
    "Ticket",
    "Verify",
    "Warm",
    "WorkerDied",
    "WorkerError",
    "Workers",
]
