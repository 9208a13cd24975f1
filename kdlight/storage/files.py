"""A file or folder is replaced whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdlight.storage.lock import is_locked

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
CONFINED = "KDLIGHT_CONFINED"
"""A variable of the environment, set in the app's processes: neither a table nor a link leads out of a set's folder."""


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A new name beside `path` to write a file at: synced and renamed to `path` at the end, removed after an error.

    A reader sees the old content or the new, and a full disk or a power cut leaves the old. An OSError names `path`.
    """
    path = Path(path)
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(descriptor)
        beside = Path(name)
        try:
            yield beside
            _sync(beside)
            beside.chmod(0o666 & ~_umask())
            beside.replace(path)
            _sync(path.parent)
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder beside `path` to fill: synced, takes the place of `path` at the end, removed after an error.

    An OSError names `path`. What a killed process left beside it goes.
    """
    path = Path(path)
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        lock = os.open(beside, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield beside
            for inside in (*beside.rglob("*"), beside):
                _sync(inside)
            beside.chmod(0o777 & ~_umask())
            old = beside.with_suffix(".old")
            if path.exists():
                old.mkdir()
                path.rename(old / path.name)
            beside.rename(path)
            _sync(path.parent)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            os.close(lock)
            shutil.rmtree(beside, ignore_errors=True)


def _sweep(path: Path) -> None:
    """Remove the folders that killed processes left beside `path`; what one had just moved away comes back."""
    for part in [p for end in (".part", ".old") for p in path.parent.glob(f".{glob.escape(path.name)}.*{end}")]:
        if is_locked(part.with_suffix(".part")):
            continue
        kept = part.with_suffix(".old") / path.name
        if kept.exists() and not path.exists():
            kept.rename(path)
        shutil.rmtree(part, ignore_errors=True)


def append(descriptor: int, content: bytes, path: str | Path) -> None:
    """Write all of it at an open file's end and wait until it is on the disk; where that fails, nothing is left."""
    end, left = os.lseek(descriptor, 0, os.SEEK_END), memoryview(content)
    with _named(Path(path)):
        try:
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise


def reserve(path: Path, size: int) -> None:
    """Raises OSError, as the system says it, where a file at `path` has no room for so many bytes; it is left empty.

    For writers that do not tell. Only Linux can be asked.
    """
    with path.open("wb") as file:
        try:
            if hasattr(os, "posix_fallocate") and size:
                os.posix_fallocate(file.fileno(), 0, size)
            file.truncate(0)
        except OSError as error:
            error.filename = str(path)
            raise


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder's files into `target`, and end at the first that cannot be, as shutil.copytree does not."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
        else:
            shutil.copyfile(path, copy)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error of the system names what was to be written: not what lies beside it, nor what it was copied from."""
    try:
        yield
    except OSError as error:
        beside = str(error.filename).startswith(str(path.parent / f".{path.name}."))
        copied = error.filename is None or error.filename2 is not None
        if beside or (copied and error.errno in NO_ROOM):
            error.filename = str(path)
        raise


def _sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: str | Path, content: bytes | str) -> None:
    """Replace a file's content as `replacing` does; text is written as UTF-8."""
    with replacing(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: str | Path, value: Any, indent: int | None = 1) -> None:
    """Replace a file by a value as JSON, which has no NaN. Raises ValueError for what JSON cannot say."""
    write(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
