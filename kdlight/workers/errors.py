"""What can go wrong between the app and its workers, and how an error comes back from one."""

from __future__ import annotations

from pydantic import TypeAdapter

from kdlight.processes import Failure


class WorkerError(ValueError):
    """A request that got no answer; the message says why and what to do."""


class QueueFull(WorkerError):
    """Too many requests wait already."""


class WorkerDied(WorkerError):
    """The worker process ended, or gave no sign of life, while it worked on this request. Others are not touched."""


class RequestCancelled(WorkerError):
    """Whoever asked no longer wants the answer."""


def exception_of(failure: Failure) -> Exception:
    """The error that a worker met: of the same class where pages tell it apart, else a WorkerError."""
    from kdlight.bundle import BundleError, OverLimitError
    from kdlight.bundle.artifact import Reason
    from kdlight.explain import ExplainError
    from kdlight.inference import IneligibleError

    if failure.name == IneligibleError.__name__:
        return IneligibleError(failure.reasons)
    if failure.name == BundleError.__name__:
        return BundleError(failure.message, TypeAdapter(Reason).validate_python(*failure.reasons))
    for known in (ExplainError, OverLimitError, RequestCancelled):
        if failure.name == known.__name__:
            return known(failure.message)
    fault = f"The reading process met a fault ({failure.name}); the server's log says where. Try again."
    return WorkerError(failure.message or fault)
