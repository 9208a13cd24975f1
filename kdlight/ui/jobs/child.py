"""The child's side of a job: reads its arguments, works, answers in lines of JSON on stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from kdlight.ui.jobs import work
from kdlight.ui.jobs.weights import weights

JOBS: dict[str, Callable[..., Any]] = {
    "catalog": work.catalog,
    "check": work.check,
    "compare": work.compare,
    "estimate": work.estimate,
    "weights": weights,
}


def main(name: str) -> int:
    """Run one job; 0 when it has a result, 2 on a mistake that the page can show."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    arguments = json.loads(sys.stdin.readline())

    def say(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        say(result=JOBS[name](lambda share, words: say(share=share, words=words), **arguments))
    except (ValueError, OSError) as error:
        say(error=" ".join(str(error).split()))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
