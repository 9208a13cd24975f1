"""The user's library on disk: add, pack, unpack, remove. Nothing is listed before its every byte was checked."""

from __future__ import annotations

import errno
import io
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path

from kdlight import bundle as bundles
from kdlight import storage
from kdlight.bundle import Bundle, BundleError
from kdlight.workers import WorkerError, trial

MOST_BYTES = 512 * 2**20
"""Unpacked size of an import."""
MOST_FILES = 200
NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
PROOFS = (bundles.SUMS, bundles.SIGNATURE)


class StoreError(ValueError):
    """The library refused; the message says why and what to do."""


def add(path: Path) -> Path:
    """Copy a sealed bundle into the library under its card's id; a taken id gets a number. Raises BundleError."""
    bundle = bundles.load(path)
    root = bundles.library_folder()
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".incoming-") as inside:
        beside = Path(inside) / bundle.card.id
        storage.copy_folder(bundle.path, beside)
        if bundles.load(beside).sha256 != bundle.sha256:
            raise StoreError("The bundle changed while it was copied; add it again.")
        return Path(beside.rename(_free(root, bundle.card.id)))


def pack(bundle: Bundle) -> bytes:
    """The bundle as a zip: one folder named after its id."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        signature = (bundles.SIGNATURE,) if (bundle.path / bundles.SIGNATURE).exists() else ()
        for name in (*bundles.files(bundle.path), bundles.SUMS, *signature):
            archive.write(bundle.path / name, f"{bundle.card.id}/{name}")
    return packed.getvalue()


def unpack(content: bytes) -> Path:
    """Import a zip made by `pack`, once its bundle has passed its golden cases in a process that is thrown away.

    Raises StoreError for a zip that is none or is hostile, BundleError for the rest, WorkerError for one that overtaxes
    that process.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="kdlight-import-") as inside:
            folder = Path(inside) / "bundle"
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                _extract(archive, folder)
            tried = trial.verify(folder)
            if not tried.ok:
                raise StoreError(f"{tried.fault} Get the bundle again.")
            return add(folder)
    except (StoreError, BundleError, WorkerError):
        raise
    except Exception as error:  # damaged zips fail in a dozen ways
        if isinstance(error, OSError) and error.errno in NO_PLACE:
            raise StoreError(f"The bundle could not be written ({error.strerror}). Import it again.") from error
        raise StoreError("This is no readable zip file; a bundle's zip was expected. Download it again.") from error


def remove(bundle: Bundle) -> None:
    """Delete a bundle of the user's library. Raises StoreError for a shipped one: those stay."""
    if bundle.path.resolve().parent != bundles.library_folder().resolve():
        raise StoreError(f"{bundle.card.name} came with kdlight and stays; only your own bundles can be deleted.")
    shutil.rmtree(bundle.path)


def _extract(archive: zipfile.ZipFile, target: Path) -> None:
    """The files of the one bundle inside, by the names that a bundle's files have, whatever the headers say."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MOST_FILES:
        raise StoreError(f"The zip holds {len(entries)} files; at most {MOST_FILES} were expected in a bundle.")
    roots = {e.filename.removesuffix(bundles.SUMS) for e in entries if e.filename.split("/")[-1] == bundles.SUMS}
    if len(roots) != 1:
        raise StoreError(f"The zip holds {len(roots)} bundles; exactly one was expected. Pack one bundle's folder.")
    left, root = MOST_BYTES, roots.pop()
    for entry in entries:
        name = entry.filename.removeprefix(root)
        known = entry.filename.startswith(root) and (name in PROOFS or bundles.KNOWN.fullmatch(name))
        if not known or stat.S_ISLNK(entry.external_attr >> 16) or (target / name).exists():
            raise StoreError("The zip holds a file twice, a link or what is no part of a bundle. Download it again.")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, (target / name).open("xb") as file:
            while block := source.read(1 << 20):
                left -= len(block)
                if left < 0:
                    raise StoreError(f"The zip unpacks to more than {MOST_BYTES >> 20} MB; a bundle is smaller.")
                file.write(block)


def _free(root: Path, name: str) -> Path:
    for number in range(1, 1000):
        place = root / (name if number == 1 else f"{name}-{number}")
        if not place.exists():
            return place
    raise StoreError(f"The library holds {name} a thousand times; delete some of them.")
