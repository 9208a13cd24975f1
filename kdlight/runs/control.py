"""Runs begun, gone on with, stopped, listed and deleted; each works in a process of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from kdlight import storage
from kdlight.contracts.recipe import Recipe
from kdlight.runs.folder import INHERITED, LOCK, START, Run, RunError
from kdlight.runs.records import LIVE, RunStatus

NAMES = ("recipe.toml", "status.json")
"""What a folder has that is a run's."""
STOPPED = "Stopped by request; resume goes on from the last finished epoch."


def default_root() -> Path:
    """Where runs live: $KDLIGHT_RUNS, else ~/.kdlight/runs."""
    return Path(os.environ.get("KDLIGHT_RUNS") or Path.home() / ".kdlight" / "runs")


def create(recipe: Recipe, path: Path | None = None, root: Path | None = None) -> Run:
    """A new queued run of this process at `path`, or under `root` with a name made from the time.

    It takes the place of one that ended before it learned anything. Raises RunError if the folder holds something else.
    """
    made_up = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    run = Run((path or (root or default_root()) / made_up).absolute())
    with _created(run, recipe):
        run.record(os.getpid(), Path.cwd())
    return run


def start(recipe: Recipe, root: Path) -> Run:
    """Begin a run in a process of its own, which goes on when the caller ends."""
    run = Run((root / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}").absolute())
    with _created(run, recipe) as lock:
        _launch(run, lock, folder=Path.cwd())
    return run


@contextlib.contextmanager
def _created(run: Run, recipe: Recipe) -> Iterator[int]:
    """A new run's folder under its lock; where that fails, as on a full disk, no new folder is left."""
    _refuse_taken(run)
    new = not run.path.exists()
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        with run.locked() as lock:
            _refuse_taken(run)
            for name in (*START, "process.json"):
                (run.path / name).unlink(missing_ok=True)
            storage.write(run.recipe, recipe.to_toml())
            run.write(RunStatus(state="queued", started=time.time()))
            yield lock
    except OSError:
        if new and not run.begun():
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def _refuse_taken(run: Run) -> None:
    """Raise RunError for what is no run that learned nothing and that no other process is about to begin."""
    if (run.path / "status.json").exists():
        run.stored()  # raises where the file is not a run's
        recorded = run.recorded()
        taken = run.learned() or (run.waits() and recorded is not None and recorded.pid != os.getpid())
    else:
        taken = run.path.exists() and (not run.path.is_dir() or any(path.name != LOCK for path in run.path.iterdir()))
    if taken:
        raise RunError(f"{run.path} is already there and not empty; choose a new folder, or resume the run in it.")


def resume(run: Run) -> None:
    """Go on with a stopped or failed run in a new process. Raises RunError if it is live or done."""
    stored, state = run.stored(), run.status().state
    if state not in ("stopped", "failed"):
        raise RunError(f"Run {run.name} is {state}; only a stopped or failed run can be resumed.")
    with run.locked() as lock:
        if run.stored() != stored:
            raise RunError(f"Run {run.name} was gone on with meanwhile; look at it again.")
        recorded = run.recorded()
        before = Path(recorded.folder if recorded else ".")
        run.update(state="queued", message="")
        _launch(run, lock, "--resume", folder=before if before.is_dir() else Path.cwd())


def stop(run: Run, grace: float = 10.0) -> None:
    """End the run's process: asked first, then after `grace` seconds killed with its children. A checkpoint stays.

    A process that merely got the same number is never touched. Raises RunError if the run is not live, or its process
    is not one of this machine.
    """
    recorded = run.recorded()
    if not run.live() or run.status().state not in LIVE:
        raise RunError(f"Run {run.name} is {run.status().state}; only a queued or running run can be stopped.")
    process = recorded.process() if recorded else None
    if process is None or process.pid == os.getpid():
        raise RunError(f"Run {run.name} is at work in a process that cannot be seen from here; stop it where it began.")
    family = [*process.children(recursive=True), process]
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    _, left = psutil.wait_procs(family, timeout=grace)
    for member in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(left, timeout=grace)
    if run.stored().state in LIVE:
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
    with run.locked():
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


def list_runs(root: Path | None = None) -> tuple[list[Run], list[str]]:
    """The runs under `root`, newest first, and for each that cannot be read a sentence that says why.

    Folders that are no runs are passed over.
    """
    began: dict[Run, float] = {}
    broken = []
    for run in map(Run, _folders(root or default_root())):
        try:
            began[run] = run.stored().started
        except RunError as error:
            broken.append(f"{run.name} is not listed, because {error}")
    return sorted(began, key=lambda run: (began[run], run.name), reverse=True), broken


def _folders(root: Path) -> list[Path]:
    """What looks like a run, by name."""
    try:
        return sorted(p for p in root.iterdir() if not p.name.startswith(".") and all((p / n).exists() for n in NAMES))
    except OSError:
        return []


def _launch(run: Run, lock: int, *options: str, folder: Path) -> None:
    """In `folder`, since a recipe's paths are relative to where the run was first started."""
    package = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    paths = os.pathsep.join([package, *([inherited] if inherited else [])])
    with run.output.open("ab") as output:
        child = subprocess.Popen(
            _command(run, *options),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": paths, INHERITED: str(lock)},
            cwd=folder,
            start_new_session=True,
            pass_fds=[lock],
        )
    run.record(child.pid, folder)
    threading.Thread(target=_collect, args=(run, child), daemon=True, name=f"run {run.name}").start()


def _command(run: Run, *options: str) -> list[str]:
    return [sys.executable, "-m", "kdlight", "train", str(run.recipe), "--out", str(run.path), *options]


def _collect(run: Run, child: subprocess.Popen[bytes]) -> None:
    """Wait for the child, so that it is no zombie of a server that runs for weeks, and note an end it did not."""
    code = child.wait()
    with contextlib.suppress(RunError, OSError):  # the folder was deleted meanwhile, or another process is at it
        recorded = run.recorded()
        if code > 0 and run.stored().state in LIVE and (recorded is None or recorded.pid == child.pid):
            run.update(state="failed", message=run.last_words())
