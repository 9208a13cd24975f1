"""A worker without models: the path of a Warm request says what it does. Run with `-m tests.workers.fake_child`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdlight.explain import ExplainError, Progress
from kdlight.inference import IneligibleError
from kdlight.workers.child import main


def task(request: Any, progress: Progress) -> Any:
    word, _, rest = str(request.bundle).partition(":")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "sleep":
        for step in range(round(float(rest) * 100)):
            progress(step / (float(rest) * 100), "asleep")
            time.sleep(0.01)
    if word == "hang":
        time.sleep(600)
    if word == "raise":
        errors = {"value": ValueError("A plain mistake."), "fault": KeyError("gone")}
        raise {**errors, "explain": ExplainError("No map."), "reasons": IneligibleError(("One.", "Two."))}[rest]
    if word == "image":
        return request.image
    return {"said": rest, "pid": os.getpid()}


def warm_up(threads: int) -> Iterator[str]:
    if os.environ.get("FAKE_CHILD_BROKEN"):
        sys.exit(3)
    if marker := os.environ.get("FAKE_CHILD_SLOW_START"):
        while not Path(marker).exists():
            time.sleep(0.02)
    yield f"{threads} threads"


if __name__ == "__main__":
    main(task, warm_up)
