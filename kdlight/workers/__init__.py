"""Work in other processes: a bounded queue of typed requests, and warm models or fresh processes that answer them.

Nothing here imports torch; the processes do.
"""

from kdlight.workers.errors import QueueFull, RequestCancelled, WorkerDied, WorkerError
from kdlight.workers.pool import Workers
from kdlight.workers.requests import Latency, Read, Request, Verification, Verify
from kdlight.workers.strikes import BundleDisabled
from kdlight.workers.ticket import Ticket

__all__ = [
    "BundleDisabled",
    "Latency",
    "QueueFull",
    "Read",
    "Request",
    "RequestCancelled",
    "Ticket",
    "Verification",
    "Verify",
    "WorkerDied",
    "WorkerError",
    "Workers",
]
