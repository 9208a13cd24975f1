"""A stream of files through both models: decoded and prepared in threads over the decoding children, asked in batches.

Memory does not grow with the number of files: at most AHEAD wait for the models, as the models' small input.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from pydantic import BaseModel, ConfigDict

from kdlight.contracts.reading import Withheld
from kdlight.data.dataset import Progress
from kdlight.images import Decoder, ImageError, open_decoders, read
from kdlight.inference.eligibility import IneligibleError
from kdlight.inference.engines import torch_threads
from kdlight.inference.journal import Journal, Settings
from kdlight.inference.predictor import Predictor, Prepared

BATCH = 16
"""Files that the models answer at once, and that are written and synced together."""
AHEAD = 2 * BATCH
"""Files taken from the list before their answer is asked for."""


class Counts(BaseModel):
    """What came of the files of a batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: int
    read: int
    refused: int
    withheld: int
    """Can be read, but are not of the kind that the bundle knows."""
    kept: int
    """Stood in the readings before."""
    readings: str
    """The file of readings."""


@dataclass(frozen=True, slots=True)
class File:
    """One file on its way: prepared, or why it was refused."""

    path: Path
    prepared: Prepared | None = None
    refused: str = ""
    withheld: Withheld | None = None
    """Of a file that the bundle was not made for, by its header and pixels."""


def read_files(
    predictor: Predictor,
    files: Iterable[Path],
    out: Path,
    frame: int = 0,
    confirmed: bool = False,
    resume: bool = False,
    decoders: int | None = None,
    progress: Progress | None = None,
) -> Counts:
    """Read every file into `out`/readings.jsonl, in the order given, by absolute path; one named twice is read once.

    With `resume` what stands there is kept and not read again. A file that cannot be read, or that the bundle was not
    made for and nobody `confirmed`, gets a line that says why. progress(done, total) counts files. Raises
    JournalError; see `Journal`. The networks get one thread each, torch's until the end: the other cores decode, and
    threads that wait for work take them away.
    """
    files = list(dict.fromkeys(Path(os.path.abspath(file)) for file in files))
    bundle = predictor.bundle
    settings: Settings = {"bundle": bundle.card.id, "sha256": bundle.sha256, "frame": frame, "confirmed": confirmed}
    read = refused = withheld = 0
    with Journal(out, settings, resume) as journal, torch_threads(1):
        left = [file for file in files if str(file) not in journal.done]
        ready = prepared(predictor, left, frame, confirmed, decoders)
        while part := list(itertools.islice(ready, BATCH)):
            written = lines(predictor, part)
            journal.append(written)
            refused += (wrong := sum("refused" in line for line in written))
            withheld += (kept_back := sum("refused" not in line and line["teacher"] is None for line in written))
            read += len(part) - wrong - kept_back
            if progress is not None:
                progress(len(files) - len(left) + read + refused + withheld, len(files))
    counts = {"files": len(files), "read": read, "refused": refused, "withheld": withheld}
    return Counts(**counts, kept=len(files) - len(left), readings=str(journal.path))


def prepared(
    predictor: Predictor, files: Iterable[Path], frame: int = 0, confirmed: bool = False, decoders: int | None = None
) -> Iterator[File]:
    """The files in order, each decoded and prepared; never more than AHEAD are begun and not yet taken."""
    count = decoders or max(2, os.cpu_count() or 1)
    free: SimpleQueue[Decoder] = SimpleQueue()

    def in_turn(file: Path) -> File:
        decoder = free.get()
        try:
            return prepare(predictor, file, frame, confirmed, decoder)
        finally:
            free.put(decoder)

    with contextlib.ExitStack() as stack:
        for decoder in open_decoders(count):
            free.put(stack.enter_context(decoder))
        pool = stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix="decode"))
        stack.callback(pool.shutdown, cancel_futures=True)
        waiting: deque[Future[File]] = deque()
        for file in files:
            waiting.append(pool.submit(in_turn, file))
            if len(waiting) >= AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def prepare(predictor: Predictor, file: Path, frame: int, confirmed: bool, decoder: Decoder | None = None) -> File:
    """Decode one file in the sandbox and make the models' input of it. What the caller can mend is a refusal."""
    started = time.perf_counter()
    try:
        prepared = predictor.prepare(read(file, frame, decoder), confirmed)
    except ImageError as error:
        return File(file, refused=str(error))
    except IneligibleError as error:
        return File(file, withheld=error.withheld)
    return File(file, replace(prepared, seconds=time.perf_counter() - started))


def lines(predictor: Predictor, part: list[File]) -> list[dict[str, Any]]:
    """A line per file, in order: its Reading as JSON, or its refusal. Each model is asked once for the whole part."""
    readings = iter(predictor.read_all([file.prepared for file in part if file.prepared is not None]))

    def line(file: File) -> dict[str, Any]:
        found = next(readings) if file.prepared is not None else file.withheld
        return {"refused": file.refused} if found is None else found.to_json()

    return [{"file": str(file.path)} | line(file) for file in part]
