"""A run by its folder: what it says of itself, and the lock by which one process at a time works at it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from kdlight import storage
from kdlight.contracts import origin
from kdlight.contracts.recipe import Recipe, read_recipe
from kdlight.runs.records import LIVE, EpochRecord, Phase, ProcessRecord, RunStatus

START = ("start.safetensors", "start.txt")
"""What a run keeps of the weights its teacher begins with: looked up, not learned."""
LOCK = ".lock"
"""The file whose lock a process holds as long as it works at the run."""
INHERITED = "KDLIGHT_RUN_LOCK"
"""Environment variable: the descriptor by which a started process has its run's lock from its first moment on."""
LOG = 64 * 2**20
"""Bytes of a log or an output that are read, at most: a hundred thousand epochs; ours."""
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
        stored, recorded = self.stored(), self.recorded()
        if stored.state in LIVE and not self.live() and not self.waits():
            stored = self.stored()  # it may have ended meanwhile, and said so before it let the lock go
            if stored.state in LIVE:
                stored = stored.changed(state="stopped", message=KILLED)
        return stored.changed(pid=recorded.pid if recorded else None)

    def read_recipe(self) -> Recipe:
        """What it trains. Raises RecipeError, RunError where the file cannot be read."""
        try:
            storage.read(self.recipe)
            return read_recipe(self.recipe)
        except (FileNotFoundError, storage.UnreadableError) as error:
            raise RunError(f"The recipe of run {self.name} is lost ({error}); start a new run.") from error

    def teacher_start(self) -> origin.Origin | None:
        """The starting weights of its teacher; None before it has looked for any."""
        try:
            content = storage.read(self.path / START[1])
        except (FileNotFoundError, storage.UnreadableError):
            return None
        try:
            return origin.Origin.model_validate_json(content)
        except ValueError:  # an older run has the words alone
            return origin.of({"start": content.decode(errors="replace").strip()})

    def keep_teacher_start(self, began: origin.Origin) -> None:
        storage.write(self.path / START[1], f"{began.model_dump_json(exclude_none=True)}\n")

    def live(self) -> bool:
        """Whether a process is at it, this one too: it holds the run's lock.

        Of a run that an older version began, which has no lock, its process tells.
        """
        held = storage.is_locked(self.path / LOCK)
        if held is not None:
            return held
        recorded = self.recorded()
        return recorded is not None and recorded.process() is not None

    def waits(self) -> bool:
        """Whether the process that made it is about to begin it."""
        recorded = self.recorded()
        return self.stored().state == "queued" and recorded is not None and recorded.process() is not None

    def learned(self) -> bool:
        """Whether it holds what another run in its folder would take away."""
        models = {path.name for path in self.path.glob("*.safetensors")} - set(START)
        return bool(models) or any((self.path / name).exists() for name in ("log.jsonl", "bundle"))

    def begun(self) -> bool:
        """Whether a process is at it, or it has learned something."""
        return self.learned() or self.live()

    def log(self) -> list[EpochRecord]:
        """The epochs in order. A line torn by a kill is left out; an epoch that was repeated counts once, the last."""
        records: dict[tuple[Phase, int], EpochRecord] = {}
        try:
            content = storage.read(self.path / "log.jsonl", LOG)
        except (FileNotFoundError, storage.UnreadableError):
            return []
        for line in content.splitlines():
            record = EpochRecord.parse(line)
            if record is not None:
                records.pop((record.phase, record.epoch), None)
                records[record.phase, record.epoch] = record
        return list(records.values())

    def append(self, record: EpochRecord) -> None:
        """Add one line to the log, on disk before this returns, or nothing of it.

        What a kill left of a torn last line is cut off.
        """
        with (self.path / "log.jsonl").open("a+b", buffering=0) as log:
            log.truncate(_end_of_last_line(log))
            storage.append(log.fileno(), f"{record.to_json()}\n".encode(), log.name)

    def update(self, **changes: Any) -> None:
        """Change fields of the status; the others keep their value. Raises pydantic.ValidationError for a wrong one."""
        self.write(self.stored().changed(**changes))

    @contextlib.contextmanager
    def claim(self, resume: bool = False) -> Iterator[None]:
        """Make the calling process the run's own until this ends, and the run running.

        Raises RunError if another process is at it, if it is finished, or if it was begun before and `resume` is False.
        """
        with self.locked():
            state = self.stored().state
            if state == "done":
                raise RunError(f"Run {self.name} is finished; its bundle is in {self.bundle}. Start a new run.")
            if not resume and (self.path / "log.jsonl").exists():
                state = "stopped" if state in LIVE else state
                raise RunError(f"Run {self.name} was begun before ({state}); add --resume, or choose a new folder.")
            for left in (p for name in (".*.part", ".bundle.*", ".tmp*") for p in self.path.glob(name)):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            self.record(os.getpid(), Path.cwd())
            self.update(state="running", message="")
            yield

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the run's lock; yields its descriptor. Raises RunError if a process is at it."""
        inherited = os.environ.pop(INHERITED, "")
        with contextlib.ExitStack() as stack:
            try:
                if self._older_elsewhere():
                    raise BlockingIOError
                lock = storage.locked(self.path / LOCK, int(inherited) if inherited.isdecimal() else None)
                descriptor = stack.enter_context(lock)
            except BlockingIOError:
                said = f"Run {self.name} is at work in another process; wait for it, or stop it first."
                raise RunError(said) from None
            yield descriptor

    def _older_elsewhere(self) -> bool:
        """Whether an older version, which locks nothing, is at it in another process."""
        recorded = self.recorded()
        return not (self.path / LOCK).exists() and self.live() and recorded is not None and recorded.pid != os.getpid()

    def stored(self) -> RunStatus:
        """The status as it was written last. Raises RunError if there is no run."""
        try:
            return storage.read_model(self.path / "status.json", RunStatus)
        except FileNotFoundError:
            why = "no status.json is there"
        except storage.UnreadableError as error:
            why = str(error).removesuffix(".")
        raise RunError(f"{self.path} is not a run: {why}. Choose a run's folder.")

    def write(self, status: RunStatus) -> None:
        storage.write(self.path / "status.json", status.changed(updated=time.time(), pid=None).to_json())

    def recorded(self) -> ProcessRecord | None:
        """The process that has it or had it last; None where nothing says so."""
        try:
            return storage.read_model(self.path / "process.json", ProcessRecord)
        except (FileNotFoundError, storage.UnreadableError):
            return None

    def record(self, pid: int, folder: Path) -> None:
        """Parent and child may both write this; they write the same."""
        storage.write(self.path / "process.json", ProcessRecord.of(pid, str(folder)).to_json())

    def last_words(self) -> str:
        """The last line that its process printed."""
        try:
            lines = storage.read(self.output, 1 << 16, tail=True).splitlines()
        except (FileNotFoundError, storage.UnreadableError):
            lines = []
        return lines[-1].decode(errors="replace").strip() if lines else "It printed nothing."


def _end_of_last_line(log: FileIO) -> int:
    """Bytes up to and including the last newline: what is after it is half a record."""
    end = log.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - (1 << 16))
        log.seek(start)
        newline = log.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
