"""A run is a folder: recipe.toml, status.json, log.jsonl, output.log, checkpoints and at its end bundle/.

The folder is the only truth. Whoever draws a run reads it; a run outlives the page, the server and the shell that
started it, and a run that was killed says so the next time it is read.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import psutil
from pydantic import ValidationError

from kdlight import storage
from kdlight.contracts import origin
from kdlight.contracts.recipe import Recipe
from kdlight.runs.records import LIVE, EpochRecord, Phase, ProcessRecord, RunStatus, State

__all__ = ["LIVE", "START", "EpochRecord", "Phase", "Run", "RunError", "RunStatus", "State"]
__all__ += ["create", "default_root", "delete", "list_runs", "resume", "size", "start", "stop"]

START = ("start.safetensors", "start.txt")
"""What a run keeps of the weights its teacher begins with: looked up, not learned."""
STARTING = 30.0
"""Seconds that a queued run may take until its process shows itself; ours."""
RESUMING = threading.Lock()
"""Of two clicks on Resume, in one window or in two, one starts a process."""
STOPPED = "Stopped by request; resume goes on from the last finished epoch."
KILLED = "The process ended without saying why; resume goes on from the last finished epoch."


class RunError(ValueError):
    """What was asked of a run does not fit its state."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run, by its folder. Reading it never changes it."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def bundle(self) -> Path:
        return self.path / "bundle"

    @property
    def output(self) -> Path:
        """What the process printed, kept for the person who has to find out why it failed."""
        return self.path / "output.log"

    def status(self) -> RunStatus:
        """A run whose process is gone without having said so reads as stopped. Raises RunError if there is no run."""
        stored, recorded = self._stored(), self._recorded()
        status = stored.changed(pid=recorded.pid if recorded else None)
        starting = stored.state == "queued" and time.time() - stored.updated < STARTING
        if status.state in LIVE and not self.live() and not starting:
            return status.changed(state="stopped", message=KILLED)
        return status

    def teacher_start(self) -> origin.Origin | None:
        """The starting weights of its teacher; None before it has looked for any."""
        content = _bytes(self.path / START[1])
        try:
            return None if content is None else origin.Origin.model_validate_json(content)
        except ValidationError:  # an older run has the words alone
            return origin.of({"start": (content or b"").decode(errors="replace").strip()})

    def keep_teacher_start(self, began: origin.Origin) -> None:
        storage.write(self.path / START[1], f"{began.model_dump_json(exclude_none=True)}\n")

    def live(self) -> bool:
        """Whether the run's own process (not another that was given its number later) is still there."""
        recorded = self._recorded()
        return recorded is not None and recorded.process() is not None

    def begun(self) -> bool:
        """Whether another process is at it, or it has learned what another run in its folder would take away."""
        models = {path.name for path in self.path.glob("*.safetensors")} - set(START)
        return bool(models) or any((self.path / name).exists() for name in ("log.jsonl", "bundle")) or self._elsewhere()

    def log(self) -> list[EpochRecord]:
        """The epochs in order. A line torn by a kill is left out; an epoch that was repeated counts once, the last."""
        records: dict[tuple[Phase, int], EpochRecord] = {}
        for line in (_bytes(self.path / "log.jsonl") or b"").splitlines():
            record = EpochRecord.parse(line)
            if record is not None:
                records.pop((record.phase, record.epoch), None)
                records[record.phase, record.epoch] = record
        return list(records.values())

    def append(self, record: EpochRecord) -> None:
        """Add one line to the log, on disk before this returns. What a kill left of a torn last line is cut off."""
        with (self.path / "log.jsonl").open("a+b") as log:
            log.truncate(_end_of_last_line(log))
            log.write(f"{record.to_json()}\n".encode())
            log.flush()
            os.fsync(log.fileno())

    def update(self, **changes: Any) -> None:
        """Change fields of the status; the others keep their value. Raises pydantic.ValidationError for a wrong one."""
        self._write(self._stored().changed(**changes))

    def claim(self, resume: bool = False) -> None:
        """Make the calling process the run's own, and the run running.

        Raises RunError if another process is at it, if it is finished, or if it was begun before and `resume` is False.
        """
        state = self.status().state
        if self._elsewhere():
            raise RunError(f"Run {self.name} is {state} in another process; wait for it, or stop it first.")
        if state == "done":
            raise RunError(f"Run {self.name} is finished; its bundle is in {self.bundle}. Start a new run.")
        if not resume and (self.path / "log.jsonl").exists():
            raise RunError(f"Run {self.name} was begun before ({state}); add --resume, or choose a new folder.")
        self._record(os.getpid(), Path.cwd())
        self.update(state="running", message="")

    def _elsewhere(self) -> bool:
        recorded = self._recorded()
        return recorded is not None and recorded.pid != os.getpid() and self.live()

    def _stored(self) -> RunStatus:
        status = RunStatus.parse(_bytes(self.path / "status.json"))
        if status is None:
            raise RunError(f"{self.path} is not a run: no readable status.json is there. Choose a run's folder.")
        return status

    def _write(self, status: RunStatus) -> None:
        storage.write(self.path / "status.json", status.changed(updated=time.time(), pid=None).to_json())

    def _recorded(self) -> ProcessRecord | None:
        return ProcessRecord.parse(_bytes(self.path / "process.json"))

    def _record(self, pid: int, folder: Path) -> None:
        """Parent and child may both write this; they write the same."""
        storage.write(self.path / "process.json", ProcessRecord.of(pid, str(folder)).to_json())


def default_root() -> Path:
    """Where runs live: $KDLIGHT_RUNS, else ~/.kdlight/runs."""
    return Path(os.environ.get("KDLIGHT_RUNS") or Path.home() / ".kdlight" / "runs")


def create(recipe: Recipe, path: Path | None = None, root: Path | None = None) -> Run:
    """A new queued run at `path`, or under `root` with a name made from the time.

    It takes the place of one that ended before it learned anything. Raises RunError if the folder holds something else.
    """
    made_up = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    run = Run((path or (root or default_root()) / made_up).absolute())
    if (run.path / "status.json").is_file() and not run.begun():
        run.status()  # raises where the file is not a run's
        for name in START:
            (run.path / name).unlink(missing_ok=True)
    elif run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
        raise RunError(f"{run.path} is already there and not empty; choose a new folder, or resume the run in it.")
    run.path.mkdir(parents=True, exist_ok=True)
    storage.write(run.recipe, recipe.to_toml())
    run._write(RunStatus(state="queued", started=time.time()))
    return run


def start(recipe: Recipe, root: Path) -> Run:
    """Begin a run in a process of its own, which goes on when the caller ends."""
    run = create(recipe, root=root)
    _launch(run, folder=Path.cwd())
    return run


def resume(run: Run) -> None:
    """Go on with a stopped or failed run in a new process. Raises RunError if it is live or done."""
    with RESUMING:
        state = run.status().state
        if state not in ("stopped", "failed"):
            raise RunError(f"Run {run.name} is {state}; only a stopped or failed run can be resumed.")
        run.update(state="queued", message="")
        recorded = run._recorded()
        before = Path(recorded.folder if recorded else ".")
        _launch(run, "--resume", folder=before if before.is_dir() else Path.cwd())


def stop(run: Run, grace: float = 10.0) -> None:
    """End the run's process: asked first, then after `grace` seconds killed with its children. A checkpoint stays.

    A process that merely got the same number is never touched. Raises RunError if the run is not live.
    """
    recorded = run._recorded()
    process = recorded.process() if recorded else None
    if process is None or run.status().state not in LIVE:
        raise RunError(f"Run {run.name} is {run.status().state}; only a queued or running run can be stopped.")
    family = [*process.children(recursive=True), process]
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    _, left = psutil.wait_procs(family, timeout=grace)
    for member in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(left, timeout=grace)
    if run._stored().state in LIVE:
        run.update(state="stopped", message=STOPPED)


def delete(run: Run) -> None:
    """Remove a run's folder with all that it learned; one that is gone already stays gone.

    Raises RunError if the run is live or the folder is no run, OSError where a file cannot be removed.
    """
    if not run.path.is_dir():
        return
    if run.status().state in LIVE:
        raise RunError(f"Run {run.name} is {run.status().state}; stop it before it is deleted.")
    doomed = run.path.with_name(f".{run.name}.deleted")
    shutil.rmtree(doomed, ignore_errors=True)  # of an earlier try that could not end
    run.path.rename(doomed)  # gone from every list at once, also where a file then resists
    shutil.rmtree(doomed)


def size(run: Run) -> int:
    """Bytes of all files in a run's folder."""
    total = 0
    for path in run.path.rglob("*"):
        with contextlib.suppress(OSError):  # a file that was just replaced
            total += path.lstat().st_size if not path.is_dir() else 0
    return total


def list_runs(root: Path | None = None) -> list[Run]:
    """The runs under `root`, newest first. Folders that are no runs are passed over."""
    root = root or default_root()
    if not root.is_dir():
        return []
    paths = [path for path in root.iterdir() if (path / "recipe.toml").is_file() and not path.name.startswith(".")]
    began = {Run(path): status.started for path in paths if (status := RunStatus.parse(_bytes(path / "status.json")))}
    return sorted(began, key=lambda run: (began[run], run.name), reverse=True)


def _launch(run: Run, *options: str, folder: Path) -> None:
    """In `folder`, since a recipe's paths are relative to where the run was first started."""
    package = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([package, *([inherited] if inherited else [])])}
    with run.output.open("ab") as output:
        child = subprocess.Popen(
            _command(run, *options),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    run._record(child.pid, folder)
    threading.Thread(target=_collect, args=(run, child), daemon=True, name=f"run {run.name}").start()


def _command(run: Run, *options: str) -> list[str]:
    return [sys.executable, "-m", "kdlight", "train", str(run.recipe), "--out", str(run.path), *options]


def _collect(run: Run, child: subprocess.Popen[bytes]) -> None:
    """Wait for the child, so that it is no zombie of a server that runs for weeks, and note an end it did not."""
    code = child.wait()
    with contextlib.suppress(RunError, OSError):  # the folder was deleted meanwhile
        recorded = run._recorded()
        if code > 0 and run._stored().state in LIVE and (recorded is None or recorded.pid == child.pid):
            last_line = (_bytes(run.output) or b"").splitlines()[-1:] or [b"It printed nothing."]
            run.update(state="failed", message=last_line[0].decode(errors="replace").strip())


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _end_of_last_line(log: BinaryIO) -> int:
    """Bytes up to and including the last newline: what is after it is half a record."""
    length = log.seek(0, os.SEEK_END)
    back = min(length, 1 << 16)
    log.seek(length - back)
    return length - back + (log.read(back).rfind(b"\n") + 1)
