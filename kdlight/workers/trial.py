"""A bundle tried out in a process of its own, with limits, which is thrown away afterwards."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from kdlight.workers.errors import WorkerError
from kdlight.workers.pool import Workers
from kdlight.workers.requests import Verification, Verify

SECONDS = 120.0
"""For both models to be loaded and to answer the golden cases."""


def verify(path: Path, seconds: float = SECONDS) -> Verification:
    """Checksums, models and golden cases of a bundle. Raises BundleError, WorkerError where it cannot be tried."""
    with closing(Workers(threads=1, stall=seconds, keep=1.0)) as workers:
        try:
            return workers.submit(Verify(path)).result(seconds)
        except TimeoutError as error:
            sentence = f"{path.name} did not answer its golden cases within {seconds:g} s; get the bundle again."
            raise WorkerError(sentence) from error
