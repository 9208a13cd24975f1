"""How many files a second: one by one against the overlapped way, interleaved over the same chunks of drawn files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from kdlight.benchmark.timer import Figures, Report, Row, interleave, machine, milliseconds, row
from kdlight.bundle import Bundle
from kdlight.contracts.reading import ROLES
from kdlight.data.dataset import Progress
from kdlight.images import read
from kdlight.inference.batch import AHEAD, BATCH, read_files
from kdlight.inference.engines import torch_threads
from kdlight.inference.predictor import Predictor
from kdlight.processes import cores

SIDE = 512
CHUNK = 50
"""Files of one turn."""
RACED = 500
"""Files that both ways read, at most; the candidate alone reads the rest, in one go."""
EARLY = 200
"""Memory is told after so many files, and after all."""
DIFFERENT = 8
"""Pictures drawn per syntax; the files beyond differ in their header only, so their bytes and checksums differ."""
SYNTAXES = {
    "uncompressed": "1.2.840.10008.1.2.1",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}
"""Taken in turn by the generated files."""
CANDIDATE, BASELINE = "overlapped", "one by one"


class BatchRow(Row):
    """Milliseconds per file over the chunks, and the rate over all of them."""

    files_per_second: float


class Alone(Figures):
    """The candidate over files that nothing else reads."""

    files: int
    files_per_second: float


class BatchReport(Report):
    """`ratio` is the baseline's median time per file over the candidate's."""

    benchmark: str = "batch"
    warmups: int = len(SYNTAXES)
    candidate: str = CANDIDATE
    baseline: str = BASELINE
    bundle: str
    seed: int = 0
    chunk: int = CHUNK
    batch: int = BATCH
    ahead: int = AHEAD
    pixels: tuple[int, int] = (SIDE, SIDE)
    syntaxes: tuple[str, ...] = tuple(SYNTAXES)
    files: int
    """Read by both ways."""
    rows: tuple[BatchRow, ...]
    memory_mb: dict[int, float]
    """The largest resident set of this process up to so many files."""
    alone: Alone | None
    """None where there are no files beyond RACED."""


def throughput(
    bundle: Bundle, files: int = 2000, threads: int | None = None, progress: Progress = lambda *_: None
) -> BatchReport:
    """Files per second over generated DICOM files, both ways on every chunk of them, in an order drawn anew.

    Both decode in the sandbox, prepare, and ask both models once; the candidate writes its readings. threads: of the
    plain way, every core by default; overlapped it is one. `files` is rounded down to whole chunks; those beyond RACED
    are links to the first ones. Raises ValueError for fewer files than one chunk.
    """
    if files < CHUNK:
        raise ValueError(f"{files} files were asked for; at least {CHUNK} are needed to time a chunk.")
    threads, total, memory = threads or cores(), files - files % CHUNK, Memory()
    raced = min(total, RACED)

    def done(count: int) -> None:
        memory.note(count)
        progress(count, total)

    alone = None
    with torch_threads(threads), tempfile.TemporaryDirectory() as folder:
        plain, single = Predictor(bundle, threads), Predictor(bundle, 1)
        made = generate(Path(folder), raced)
        times = race(plain, single, made, memory, done)
        if more := linked(made, total - raced):
            ms = milliseconds(lambda: overlapped(single, more, lambda count, _: done(raced + count)))
            alone = Alone(files=len(more), files_per_second=1000 * len(more) / ms)
    rows = [_row(name, taken) for name, taken in times.items()]
    return BatchReport(
        bundle=bundle.card.id,
        machine=machine(),
        threads=threads,
        runs=raced // CHUNK,
        files=raced,
        rows=tuple(rows),
        ratio=rows[0].p50_ms / rows[1].p50_ms,
        memory_mb={min(EARLY, total): round(memory.early, 1), total: round(memory.peak, 1)},
        alone=alone,
    )


def _row(name: str, taken: list[float]) -> BatchRow:
    return BatchRow(**row(name, taken).model_dump(), files_per_second=1000 * len(taken) / sum(taken))


class Memory:
    """The largest resident set of this process in MB, up to EARLY files and up to the last."""

    early = peak = 0.0

    def note(self, done: int) -> None:
        self.peak = max(self.peak, psutil.Process().memory_info().rss / 2**20)
        if done <= EARLY:
            self.early = self.peak


def race(
    plain: Predictor, single: Predictor, files: list[Path], memory: Memory, done: Callable[[int], None]
) -> dict[str, list[float]]:
    """Milliseconds per file of both ways, the baseline first, for each chunk of the files; done(count) after each."""
    one_by_one(plain, files[: len(SYNTAXES)])
    times: dict[str, list[float]] = {BASELINE: [], CANDIDATE: []}
    for start in range(0, len(files), CHUNK):
        chunk = files[start : start + CHUNK]
        note = partial(lambda start, count, _: memory.note(start + count), start)
        ways = {BASELINE: partial(one_by_one, plain, chunk), CANDIDATE: partial(overlapped, single, chunk, note)}
        for name, taken in interleave(ways, 1, 0, start).items():
            times[name] += [ms / CHUNK for ms in taken]
        done(start + CHUNK)
    return times


def one_by_one(predictor: Predictor, files: list[Path]) -> None:
    """What a plain loop does: read, prepare, ask each model once."""
    for file in files:
        x = predictor.spec.prepare(read(file))[None]
        for role in ROLES:
            predictor.probabilities(role, x)


def overlapped(predictor: Predictor, files: list[Path], progress: Progress | None = None) -> None:
    """`read_files` as the command runs it, with its file written and synced."""
    with tempfile.TemporaryDirectory() as folder:
        read_files(predictor, files, Path(folder), confirmed=True, progress=progress)


def linked(files: list[Path], count: int) -> list[Path]:
    """`count` more names for these files, in turn."""
    names = [files[0].with_name(f"link-{number:06d}.dcm") for number in range(count)]
    for number, name in enumerate(names):
        os.link(files[number % len(files)], name)
    return names


def generate(folder: Path, count: int) -> list[Path]:
    """`count` DICOM files of 512 x 512 pixels and 12 bits in `folder`, drawn from a seed, in SYNTAXES by turns."""
    kinds = list(SYNTAXES.values())
    drawn = [_draw(number, kinds[number % len(kinds)]) for number in range(min(count, DIFFERENT * len(kinds)))]
    files = [folder / f"{number:06d}.dcm" for number in range(count)]
    for number, file in enumerate(files):
        data = drawn[number % len(drawn)]
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
        data.save_as(file, enforce_file_format=True)
    return files


def _draw(number: int, syntax: str) -> Any:
    """One file: smooth hills with noise in the lower bits, as scanners give them."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    hills = sum(np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in rng.uniform(0, 3, (5, 3)))
    pixels = np.clip(2048 + 350 * hills + rng.normal(0, 8, (SIDE, SIDE)), 0, 4095).astype("<u2")
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data.SOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
    data.Modality, data.PatientName, data.PatientID = "CT", "Drawn^File", str(number)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns, data.BitsAllocated, data.BitsStored, data.HighBit = SIDE, SIDE, 16, 12, 11
    data.PixelRepresentation, data.PixelData = 0, pixels.tobytes()
    data.WindowCenter, data.WindowWidth = 2048, 3000
    if syntax != ExplicitVRLittleEndian:
        data.compress(syntax, generate_instance_uid=False)
    return data
