"""Long work in a process of its own: progress comes back line by line, the page looks when it likes.

The child is `python -m kdlight.ui.jobs.child NAME`: its arguments go in as one JSON line on stdin; on stdout it answers
{"share", "words"} lines and at its end {"result"} or {"error"}. It ends with its parent: a closed stdout ends it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


class JobError(ValueError):
    """A job that ended without a result; the message is its own sentence."""


class Job:
    """One child at work. Its state may be read from any thread."""

    def __init__(self, name: str, **arguments: Any) -> None:
        self.name, self.arguments = name, arguments
        self.share, self.words = 0.0, "Starting"
        self.result: Any = None
        self.error: str | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kdlight.ui.jobs.child", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            text=True,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._listen, daemon=True, name=f"job {name}")
        self._reader.start()

    @property
    def done(self) -> bool:
        return not self._reader.is_alive()

    def cancel(self) -> None:
        """End the child; the job is then done, with an error that says so."""
        self._process.kill()

    def wait(self, timeout: float | None = None) -> Any:
        """The result. Raises JobError where there is none, also when `timeout` seconds were not enough."""
        self._reader.join(timeout)
        if not self.done:
            raise JobError(f"{self.name} is not finished after {timeout} s; wait longer.")
        if self.error is not None:
            raise JobError(self.error)
        return self.result

    def _listen(self) -> None:
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None
        assert answers is not None
        try:
            with pipe:
                pipe.write(json.dumps(self.arguments) + "\n")
        except BrokenPipeError:
            pass
        with answers:
            for line in answers:
                self._take(line)
        code = self._process.wait()
        if self.result is None and self.error is None:
            self.error = f"The process ended before it had a result (exit status {code}); start it again."

    def _take(self, line: str) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            return
        if "share" in said:
            self.share, self.words = min(max(float(said["share"]), 0.0), 1.0), str(said["words"])
        self.result = said.get("result", self.result)
        self.error = said.get("error", self.error)
