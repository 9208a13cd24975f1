"""Work in other processes: a bounded queue of typed requests, and warm models or fresh processes that answer them.

Nothing here imports torch; the processes do.
"""

from kdlight.workers.errors import QueueFull, RequestCancelled, WorkerDied, WorkerError
from kdlight.workers.pool import Ticket, Workers, cores
from kdlight.workers.requests import HeatMaps, Latency, Read, Request, Verification, Verify, Warm

__all__ = [
    "HeatMaps",
    "Latency",
    "QueueFull",
    "Read",
    "Request",
    "RequestCancelled",
    "Ticket",
    "Verification",
    "Verify",
    "Warm",
    "WorkerDied",
    "WorkerError",
    "Workers",
    "cores",
]
