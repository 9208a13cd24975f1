"""What can go wrong between the app and its workers, and how an error crosses from one to the other."""

from __future__ import annotations

from typing import Any


class WorkerError(ValueError):
    """A request that got no answer; the message says why and what to do."""


class QueueFull(WorkerError):
    """Too many requests wait already."""


class WorkerDied(WorkerError):
    """The worker process ended, or gave no sign of life, while it worked on this request. Others are not touched."""


class RequestCancelled(WorkerError):
    """Whoever asked no longer wants the answer."""


def to_wire(error: BaseException) -> dict[str, Any]:
    """An error as plain values: its class, its sentence, its reasons, and whether it was the caller's mistake."""
    return {
        "name": type(error).__name__,
        "message": str(error),
        "reasons": tuple(getattr(error, "reasons", ())),
        "mistake": isinstance(error, ValueError),
    }


def from_wire(said: dict[str, Any]) -> Exception:
    """The error that a worker met: of the same class where pages tell it apart, else a WorkerError."""
    from kdlight.bundle import BundleError
    from kdlight.explain import ExplainError
    from kdlight.inference import IneligibleError

    if said["name"] == IneligibleError.__name__:
        return IneligibleError(said["reasons"])
    known: dict[str, type[Exception]] = {e.__name__: e for e in (BundleError, ExplainError, RequestCancelled)}
    if said["name"] in known:
        return known[said["name"]](said["message"])
    if said["mistake"]:
        return WorkerError(said["message"])
    return WorkerError(f"The reading process met a fault ({said['name']}); the server's log says where. Try again.")
