"""Files of named arrays with a digest, and a cache of them: what is computed once is kept by what decides it."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdlight.storage.files import replacing, reserve
from kdlight.storage.records import UnreadableError

DIGEST, ABOUT = "sha256", "state"
"""Keys of the metadata of a file of arrays: their digest, and what is said about them."""

log = logging.getLogger(__name__)


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
        path = self.path(key)
        try:
            arrays, _ = load_arrays(path)
            os.utime(path)
            return arrays
        except FileNotFoundError:
            return None
        except (UnreadableError, OSError):
            log.warning("The cache file %s is damaged; it is made anew.", path)
            return None

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays. A cache that cannot be written costs time, not the work: that is logged and no error."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            save_arrays(self.path(key), arrays)
            self._prune(self.path(key))
        except OSError as error:
            log.warning("Nothing could be kept in %s: %s.", self.folder, error.strerror or error)

    def _prune(self, newest: Path) -> None:
        """Remove the files used longest ago until the rest fits; the newest always stays."""
        files = [(path != newest, -path.stat().st_mtime_ns, path) for path in self.folder.rglob("*.safetensors")]
        total = 0
        for older, _, path in sorted(files):
            total += path.stat().st_size
            if older and total > self.most_bytes:
                path.unlink(missing_ok=True)


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], about: str = "") -> None:
    """Replace a file by named arrays and a text about them, with a digest of both."""
    write_arrays(path, arrays, {DIGEST: _digest(arrays, about), **({ABOUT: about} if about else {})})


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Replace a file as `replacing` does by named arrays (safetensors)."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with replacing(path) as beside:
        try:
            save_file(dict(arrays), beside, metadata=metadata)
        except SafetensorError as error:  # it says in prose what the system said
            reserve(beside, sum(array.nbytes for array in arrays.values()))
            raise OSError(errno.EIO, "could not be written", str(path)) from error


def load_arrays(path: str | Path, older: bool = False) -> tuple[dict[str, np.ndarray], str]:
    """The arrays at `path` and what is said about them.

    Raises FileNotFoundError; UnreadableError if either is not what was written. older: read a file without a digest
    too, as kdlight wrote them before.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        with safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise UnreadableError(f"{path.name} is damaged: it cannot be read.") from error
    about = metadata.get(ABOUT, "")
    if older and not set(metadata) - {ABOUT, "format"}:
        return arrays, about
    if metadata.get(DIGEST) != _digest(arrays, about):
        raise UnreadableError(f"{path.name} is damaged: it is not what was written.")
    return arrays, about


def _digest(arrays: Mapping[str, np.ndarray], about: str = "") -> str:
    digest = hashlib.sha256(about.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data.cast("B") if array.size else b"")
    return digest.hexdigest()
