"""Where files are written: whole or not at all, and what is computed once is cached by what decides it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DIGEST = "sha256"
"""Key of a cache file's metadata: the digest of its arrays."""

MOST_TEXT = 4 * 2**20
"""Bytes of a JSON file that is read."""
LARGEST = 1e15
"""No count, size or time in a file is larger: such a number is nonsense, and arithmetic on it overflows."""
WHOLE_DIGITS = 15

log = logging.getLogger(__name__)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A new name beside `path` to write a file at: synced and renamed to `path` at the end, removed after an error.

    A reader sees the old content or the new, and a full disk or a power cut leaves the old.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(descriptor)
    beside = Path(name)
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.chmod(0o666 & ~_umask())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder beside `path` to fill: takes the place of `path` at the end, removed after an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield beside
        beside.chmod(0o777 & ~_umask())
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".old"))
            path.rename(old / path.name)
            beside.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write(path: str | Path, content: bytes | str) -> None:
    """Replace a file's content as `replacing` does; text is written as UTF-8."""
    with replacing(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: str | Path, value: Any, indent: int | None = 1) -> None:
    """Replace a file by a value as JSON, which has no NaN. Raises ValueError for what JSON cannot say."""
    write(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """The values of a JSON file that may come from anybody. Raises OSError, and ValueError for what is no good JSON.

    Refused are files above MOST_TEXT, nesting that no reader survives, NaN, and numbers beyond LARGEST.
    """
    with Path(path).open("rb") as file:
        content = file.read(MOST_TEXT + 1)
    if len(content) > MOST_TEXT:
        raise ValueError(f"it is larger than {MOST_TEXT >> 20} MB")
    try:
        return json.loads(content, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(text: str) -> float:
    number = float(text)
    if not abs(number) <= LARGEST:
        raise ValueError(f"a number beyond {LARGEST:g} or none at all stands in it")
    return number


def _whole(text: str) -> int:
    return int(text) if len(text) <= WHOLE_DIGITS else int(_finite(text))


def cache_folder() -> Path:
    """$KDLIGHT_CACHE, else ~/.kdlight/cache."""
    return Path(os.environ.get("KDLIGHT_CACHE") or Path.home() / ".kdlight" / "cache")


@dataclass(frozen=True, slots=True)
class ArrayCache:
    """Named arrays by key, under `cache_folder()`. The key is a digest of everything that decides the arrays."""

    name: str
    most_bytes: int = 8 * 2**30
    """The cache keeps at most this much: what was used longest ago goes first, the newest stays."""

    @property
    def folder(self) -> Path:
        return cache_folder() / self.name

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of a key; None where there are none, or where they are not those that were written."""
        from safetensors import SafetensorError, safe_open

        path = self.path(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, "np") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                whole = (file.metadata() or {}).get(DIGEST) == _digest(arrays)
            if whole:
                os.utime(path)
                return arrays
        except (SafetensorError, OSError):
            pass
        log.warning("The cache file %s is damaged; it is made anew.", path)
        return None

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays. A cache that cannot be written costs time, not the work: that is logged and no error."""
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with replacing(self.path(key)) as beside:
                save_file(dict(arrays), beside, metadata={DIGEST: _digest(arrays)})
            self._prune()
        except (OSError, SafetensorError) as error:
            log.warning("Nothing could be kept in %s: %s.", self.folder, getattr(error, "strerror", None) or error)

    def _prune(self) -> None:
        """Remove the files used longest ago until the rest fits; the newest always stays."""
        files = sorted(
            ((p.stat(), p) for p in self.folder.rglob("*.safetensors")), key=lambda pair: -pair[0].st_mtime_ns
        )
        total = 0
        for number, (stat, path) in enumerate(files):
            total += stat.st_size
            if number and total > self.most_bytes:
                path.unlink(missing_ok=True)


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data.cast("B") if array.size else b"")
    return digest.hexdigest()


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
