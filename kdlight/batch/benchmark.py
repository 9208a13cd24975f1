"""How many files a second: one by one against the overlapped way, in turns over the same chunks of generated files."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdlight.batch.reader import AHEAD, BATCH, read_all
from kdlight.images import read
from kdlight.inference import Predictor
from kdlight.inference.timing import machine
from kdlight.reading import ROLES

if TYPE_CHECKING:
    from kdlight.bundle import Bundle

SIDE = 512
CHUNK = 50
"""Files of one turn."""
RACED = 500
"""Files that every way reads, at most; the candidate alone reads the rest, in one go."""
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
TIMED = "one by one, each model timed"
HAND = "pydicom and torch by hand, one by one"

Progress = Callable[[int, int], None]


def generate(folder: Path, count: int) -> list[Path]:
    """`count` DICOM files of 512 x 512 pixels and 12 bits in `folder`, drawn from a seed, in SYNTAXES by turns."""
    from pydicom.uid import generate_uid

    kinds = list(SYNTAXES.values())
    drawn = [_draw(number, kinds[number % len(kinds)]) for number in range(min(count, DIFFERENT * len(kinds)))]
    files = []
    for number in range(count):
        data = drawn[number % len(drawn)]
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
        files.append(folder / f"{number:06d}.dcm")
        data.save_as(files[-1], enforce_file_format=True)
    return files


def _draw(number: int, syntax: str) -> Any:
    """One file: smooth hills with noise in the lower bits, as scanners give them."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

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


def throughput(
    bundle: Bundle, files: int = 2000, threads: int | None = None, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Files per second over generated DICOM files, both ways on every chunk of them, in an order drawn anew.

    CANDIDATE and BASELINE decode in the sandbox, prepare, and ask both models once; HAND is the loop that a user writes
    without kdlight: no sandbox, no checks, both models on torch. TIMED is `Predictor.read`, which asks each model
    several times to tell its time, on the first chunk only. threads: of both models in all ways but the candidate's,
    which gives them one; every core by default. `files` is rounded down to whole chunks; those beyond RACED are links
    to the first ones, and the candidate alone reads them, in one go (`alone`). `ratio` is the baseline's median time
    per file over the candidate's, `ratios` that of every row; `bound` the rate at which the candidate's own processor
    seconds would fill every core; `memory_mb` the largest resident set of this process up to EARLY files and up to the
    last. Raises ValueError for fewer files than one chunk.
    """
    import torch

    if files < CHUNK:
        raise ValueError(f"{files} files were asked for; at least {CHUNK} are needed to time a chunk.")
    before, threads = torch.get_num_threads(), threads or _cores()
    torch.set_num_threads(threads)
    try:
        found = _race(Predictor(bundle, threads), Predictor(bundle, 1), files - files % CHUNK, seed, progress)
    finally:
        torch.set_num_threads(before)
    settings = {"threads": threads, "seed": seed, "chunk": CHUNK, "batch": BATCH, "ahead": AHEAD}
    drawn = {"pixels": [SIDE, SIDE], "syntaxes": list(SYNTAXES)}
    return {"benchmark": "batch", "bundle": bundle.card.id, "machine": machine(), **settings, **drawn, **found}


def _race(predictor: Predictor, single: Predictor, files: int, seed: int, progress: Progress | None) -> dict[str, Any]:
    race = Race(predictor, single, np.random.default_rng(seed))
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder), min(files, RACED))
        one_by_one(predictor, made[: len(SYNTAXES)])
        timed = CHUNK / _seconds(lambda: [predictor.read(read(file), confirmed=True) for file in made[:CHUNK]])
        for start in range(0, len(made), CHUNK):
            race.run(made[start : start + CHUNK])
            if progress is not None:
                progress(race.files, files)
        alone = race.alone(_linked(made, files - len(made)), progress)
    told = {"name": TIMED, "files": CHUNK, "files_per_second": timed}
    return {**race.report(), "memory_mb": race.memory(files), "timed": told, "alone": alone}


def _linked(files: list[Path], count: int) -> list[Path]:
    """`count` more names for these files, in turn."""
    found = []
    for number in range(count):
        found.append(files[0].with_name(f"link-{number:06d}.dcm"))
        os.link(files[number % len(files)], found[-1])
    return found


class Race:
    """The two ways over chunk after chunk: their seconds, the candidate's processor seconds, the memory held."""

    def __init__(self, predictor: Predictor, single: Predictor, rng: np.random.Generator) -> None:
        self.predictor, self.single, self.rng, self.files = predictor, single, rng, 0
        self.seconds: dict[str, list[float]] = {BASELINE: [], HAND: [], CANDIDATE: []}
        self.processor, self.early, self.peak = 0.0, 0.0, 0.0

    def run(self, chunk: list[Path]) -> None:
        """Every way on one chunk of CHUNK files."""
        for name in self.rng.permutation(list(self.seconds)).tolist():
            before = _processor_seconds()
            way = {CANDIDATE: self._overlapped, BASELINE: self._plain, HAND: self._by_hand}[name]
            self.seconds[name].append(_seconds(lambda way=way: way(chunk)))  # type: ignore[misc]
            self.processor += _processor_seconds() - before if name == CANDIDATE else 0.0
        self.files += len(chunk)
        self._look()
        self.early = self.peak if self.files <= EARLY else self.early

    def alone(self, files: list[Path], progress: Progress | None) -> dict[str, Any] | None:
        """The candidate over files that nothing else reads; None where there are none."""
        if not files:
            return None

        def told(done: int, total: int) -> None:
            self._look()
            if progress is not None:
                progress(self.files + done, self.files + total)

        with tempfile.TemporaryDirectory() as folder:
            seconds = _seconds(lambda: read_all(self.single, files, Path(folder), confirmed=True, progress=told))
        return {"files": len(files), "files_per_second": len(files) / seconds}

    def memory(self, files: int) -> dict[str, float]:
        return {str(min(EARLY, files)): round(self.early, 1), str(files): round(self.peak, 1)}

    def report(self) -> dict[str, Any]:
        rows = {name: _row(name, taken) for name, taken in self.seconds.items()}
        spent = self.processor / self.files
        return {
            "files": self.files,
            "runs": self.files // CHUNK,
            "rows": list(rows.values()),
            "candidate": CANDIDATE,
            "baseline": BASELINE,
            "ratio": rows[BASELINE]["p50_ms"] / rows[CANDIDATE]["p50_ms"],
            "ratios": {name: row["p50_ms"] / rows[CANDIDATE]["p50_ms"] for name, row in rows.items()},
            "bound": {"processor_seconds_per_file": spent, "files_per_second": _cores() / spent},
        }

    def _plain(self, chunk: list[Path]) -> None:
        one_by_one(self.predictor, chunk)

    def _by_hand(self, chunk: list[Path]) -> None:
        by_hand(self.predictor, chunk)

    def _overlapped(self, chunk: list[Path]) -> None:
        """`read_all` as the command runs it, with its file written and synced."""
        with tempfile.TemporaryDirectory() as folder:
            read_all(self.single, chunk, Path(folder), confirmed=True, progress=self._look)

    def _look(self, *_: int) -> None:
        import psutil

        self.peak = max(self.peak, psutil.Process().memory_info().rss / 2**20)


def one_by_one(predictor: Predictor, files: list[Path]) -> None:
    """What a plain loop does: read, prepare, ask each model once."""
    for file in files:
        x = predictor.spec.prepare(read(file))[None]
        for role in ROLES:
            predictor.probabilities(role, x)


def by_hand(predictor: Predictor, files: list[Path]) -> None:
    """The loop of a script: pydicom, its window, Pillow, and both networks in torch, each asked once."""
    import PIL.Image
    import torch
    from pydicom import dcmread
    from pydicom.pixels.processing import apply_voi_lut

    side = predictor.spec.size
    for file in files:
        data = dcmread(file)
        pixels = apply_voi_lut(data.pixel_array, data).astype(np.float32)
        gray = 255 * (pixels - pixels.min()) / max(float(np.ptp(pixels)), 1.0)
        small = PIL.Image.fromarray(gray.astype(np.uint8)).resize((side, side), PIL.Image.Resampling.BILINEAR)
        x = predictor.spec.normalise(torch.from_numpy(np.asarray(small.convert("RGB"))[None].copy()))
        with torch.inference_mode():
            for role in ROLES:
                predictor.models[role](x).softmax(1).numpy()


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _row(name: str, seconds: list[float]) -> dict[str, Any]:
    """Milliseconds per file over the chunks, and the rate over all of them."""
    p50, p95 = (float(value) for value in np.percentile(np.array(seconds) * 1000 / CHUNK, (50, 95)))
    return {"name": name, "p50_ms": p50, "p95_ms": p95, "files_per_second": CHUNK * len(seconds) / sum(seconds)}


def _processor_seconds() -> float:
    """Of this process and of the decoding children, those that ended included."""
    import psutil

    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children()):
        spent = process.cpu_times()
        ended = 0.0 if process is own else spent.children_user + spent.children_system
        total += spent.user + spent.system + ended
    return float(total)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
