"""A stream of files through both models: decoded and prepared in threads over the decoding children, asked in batches.

Memory does not grow with the number of files: at most AHEAD of them are between the list and the models, whole images
only inside a decoder; what waits is the models' small input.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from kdlight.batch.journal import Journal
from kdlight.images import Decoder, ImageError, facts, open_decoders, read
from kdlight.inference import IneligibleError, eligibility
from kdlight.inference.margin import level, margin, must_not_miss
from kdlight.metrics import prediction_sets
from kdlight.reading import ROLES, Eligibility, Opinion, Reading, Role

if TYPE_CHECKING:
    from kdlight.inference import Predictor

BATCH = 16
"""Files that the models answer at once, and that are written and synced together."""
AHEAD = 2 * BATCH
"""Files taken from the list before their answer is asked for."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """One file on its way: the models' input uint8 (S, S, 3) with what is said of the image, or why there is none."""

    file: Path
    pixels: np.ndarray | None = None
    facts: dict[str, Any] | None = None
    eligibility: Eligibility | None = None
    seconds: float = 0.0
    """Reading and preparing."""
    refused: str = ""


def read_all(
    predictor: Predictor,
    files: Iterable[Path],
    out: Path,
    frame: int = 0,
    confirmed: bool = False,
    resume: bool = False,
    decoders: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Read every file into `out`/readings.jsonl, in the order given, by absolute path; one named twice is read once.

    With `resume` what stands there is kept and not read again. A file that cannot be read, or that the bundle was not
    made for and nobody `confirmed`, gets a line with the reason. progress(done, total) counts files. Returns the
    counts: files, read, refused, kept (there before). Raises JournalError; see `Journal`. The networks get one thread
    each, torch's until the end: the other cores decode, and threads that wait for work take them away.
    """
    files = list(dict.fromkeys(Path(os.path.abspath(file)) for file in files))
    settings = {"bundle": predictor.bundle.card.id, "sha256": predictor.bundle.sha256, "frame": frame}
    counts: Counter[str] = Counter(files=len(files))
    with Journal(out, settings | {"confirmed": confirmed}, resume) as journal, one_thread():
        todo = [file for file in files if str(file) not in journal.done]
        counts["kept"] = len(files) - len(todo)
        for part in _batches(prepared(predictor, todo, frame, confirmed, decoders)):
            lines = answer(predictor, part)
            journal.append(lines)
            counts["refused"] += sum("refused" in line for line in lines)
            counts["read"] += sum("refused" not in line for line in lines)
            if progress is not None:
                progress(counts["kept"] + counts["read"] + counts["refused"], len(files))
    return {**{name: counts[name] for name in ("files", "read", "refused", "kept")}, "readings": str(journal.path)}


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch's operations on one thread inside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prepared(
    predictor: Predictor, files: Iterable[Path], frame: int = 0, confirmed: bool = False, decoders: int | None = None
) -> Iterator[Prepared]:
    """The files in order, each decoded and prepared; never more than AHEAD are begun and not yet taken."""
    count = decoders or max(2, os.cpu_count() or 1)
    free: SimpleQueue[Decoder] = SimpleQueue()

    def turn(file: Path) -> Prepared:
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
        waiting: deque[Future[Prepared]] = deque()
        for file in files:
            waiting.append(pool.submit(turn, file))
            if len(waiting) >= AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def prepare(
    predictor: Predictor, file: Path, frame: int = 0, confirmed: bool = False, decoder: Decoder | None = None
) -> Prepared:
    """Decode one file in the sandbox and render the models' input. What the caller can mend is a refusal."""
    started = time.perf_counter()
    try:
        image = read(file, frame, decoder)
        allowed = eligibility(predictor.bundle.card, image, confirmed=confirmed)
        if not allowed.eligible and not confirmed:
            raise IneligibleError(allowed.reasons)
        pixels = predictor.spec.render(image)
    except (ImageError, IneligibleError) as error:
        return Prepared(file, refused=str(error))
    return Prepared(file, pixels, facts(image), allowed, time.perf_counter() - started)


def answer(predictor: Predictor, part: list[Prepared]) -> list[dict[str, Any]]:
    """A line per file, in order: its Reading as JSON, or its refusal. Each model is asked once for the whole part."""
    import torch

    good = [item for item in part if item.pixels is not None]
    opinions: dict[Role, list[Opinion]] = {}
    if good:
        pixels = np.stack([item.pixels for item in good if item.pixels is not None])  # (B, S, S, 3)
        x = predictor.spec.normalise(torch.from_numpy(pixels))
        opinions = {role: _opinions(predictor, role, x) for role in ROLES}
    lines, number = [], itertools.count()
    for item in part:
        if item.refused:
            lines.append({"file": str(item.file), "refused": item.refused})
            continue
        at = next(number)
        reading = _reading(predictor, item, *(opinions[role][at] for role in ROLES))
        lines.append({"file": str(item.file), **reading.to_json()})
    return lines


def _reading(predictor: Predictor, item: Prepared, teacher: Opinion, student: Opinion) -> Reading:
    bundle = predictor.bundle
    return Reading(
        bundle=bundle.card.id,
        bundle_version=bundle.card.version,
        bundle_sha256=bundle.sha256,
        image=item.facts or {},
        eligibility=item.eligibility or Eligibility(True),
        teacher=teacher,
        student=student,
        must_not_miss=must_not_miss(bundle.card),
        level=level(bundle.card),
        seconds={"prepare": item.seconds},
    )


def _opinions(predictor: Predictor, role: Role, x: Any) -> list[Opinion]:
    """One model on x (B, 3, S, S)."""
    bundle, described = predictor.bundle, predictor.bundle.card.network(role)
    probabilities = predictor.probabilities(role, x)
    size = bundle.weights(role).stat().st_size
    sets = prediction_sets(probabilities, bundle.card.qhat(role))
    return [
        Opinion(
            role=role,
            architecture=described.architecture,
            probabilities=dict(zip(bundle.classes, row.tolist(), strict=True)),
            prediction=bundle.classes[int(row.argmax())],
            prediction_set=tuple(name for name, inside in zip(bundle.classes, chosen, strict=True) if inside),
            margin=margin(bundle.card, role),
            parameters=described.parameters,
            bytes=size,
        )
        for row, chosen in zip(probabilities, sets, strict=True)
    ]


def _batches(items: Iterable[Prepared]) -> Iterator[list[Prepared]]:
    source = iter(items)
    while part := list(itertools.islice(source, BATCH)):
        yield part
