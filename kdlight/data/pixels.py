"""Rendering a whole set once, and keeping the result on disk for the next run.

A cache file is the sha256 of the pixels (32 bytes) followed by the pixels. Its name is the sha256 of everything that
decides them: names, sizes and times of change of the files, the InputSpec, and this file's version. So a changed set
has another name, and a damaged file is seen by its digest; neither is ever used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kdlight.data.dataset import Dataset, Progress
from kdlight.preprocessing import InputSpec

VERSION = 2
"""Raise it when decoding or rendering changes what comes out."""

MOST_BYTES = 8 * 2**30
"""The cache keeps at most this much: what was used longest ago goes first."""

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """$KDLIGHT_CACHE, else ~/.kdlight/cache."""
    return Path(os.environ.get("KDLIGHT_CACHE") or Path.home() / ".kdlight" / "cache")


def rendered(dataset: Dataset, spec: InputSpec, progress: Progress | None = None, cache: bool = True) -> np.ndarray:
    """uint8 (N, size, size, 3). Raises DataError that names the first unreadable image."""
    shape = (len(dataset), spec.size, spec.size, 3)
    path = cache_folder() / "pixels" / f"{_key(dataset, spec)}.bin"
    kept = _load(path, shape) if cache else None
    if kept is not None:
        if progress:
            progress(len(dataset), len(dataset))
        return kept
    pixels = _render(dataset, spec, shape, progress)
    if cache:
        _store(path, pixels)
    return pixels


def _render(dataset: Dataset, spec: InputSpec, shape: tuple[int, ...], progress: Progress | None) -> np.ndarray:
    pixels = np.empty(shape, dtype=np.uint8)

    def one(index: int) -> None:
        pixels[index] = spec.render(dataset.source.image(dataset.items[index].ref))

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        futures = [pool.submit(one, index) for index in range(len(dataset))]
        try:
            for done, future in enumerate(futures, start=1):
                future.result()
                if progress and (done % 16 == 0 or done == len(futures)):
                    progress(done, len(futures))
        finally:
            pool.shutdown(cancel_futures=True)
    return pixels


def _key(dataset: Dataset, spec: InputSpec) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, dataset.source.name, spec.to_json()], sort_keys=True).encode())
    for item in dataset.items:
        digest.update(f"\0{item.ref}\0{dataset.source.stamp(item.ref)}".encode())
    return digest.hexdigest()


def _load(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The pixels kept at `path`; None where there are none or they are not what was written."""
    try:
        with path.open("rb") as handle:
            digest = handle.read(32)
            pixels = np.fromfile(handle, dtype=np.uint8)
    except OSError:
        return None
    if pixels.size != np.prod(shape) or hashlib.sha256(pixels.data).digest() != digest:
        log.warning("The cached pixels in %s are damaged; they are made anew.", path)
        return None
    os.utime(path)
    return pixels.reshape(shape)


def _store(path: Path, pixels: np.ndarray) -> None:
    """Write beside, sync, rename. A cache that cannot be written costs time, not the run, so it is only said."""
    beside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, beside = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(hashlib.sha256(pixels.data).digest())
            handle.write(pixels.data)
            handle.flush()
            os.fsync(handle.fileno())
        Path(beside).replace(path)
        _prune(path.parent)
    except OSError as error:
        log.warning("The rendered pixels could not be kept in %s: %s.", path.parent, error.strerror or error)
        if beside:
            Path(beside).unlink(missing_ok=True)


def _prune(folder: Path) -> None:
    """Remove the files used longest ago until the rest fits MOST_BYTES; the newest always stays."""
    files = sorted(((found.stat(), found) for found in folder.glob("*.bin")), key=lambda pair: -pair[0].st_mtime_ns)
    total = 0
    for number, (stat, path) in enumerate(files):
        total += stat.st_size
        if number and total > MOST_BYTES:
            path.unlink(missing_ok=True)
