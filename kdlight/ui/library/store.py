"""The user's library on disk: add, pack, unpack, remove. Nothing is listed before its every byte was checked."""

from __future__ import annotations

import io
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from kdlight import bundle as bundles
from kdlight.bundle import Bundle

MOST_BYTES = 512 * 2**20
"""Unpacked size of an import."""
MOST_FILES = 200


class StoreError(ValueError):
    """The library refused; the message says why and what to do."""


def add(path: Path) -> Path:
    """Copy a sealed bundle into the library under its card's id; a taken id gets a number. Raises BundleError."""
    bundle = bundles.load(path)
    root = bundles.library_folder()
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".incoming-") as inside:
        beside = Path(inside) / bundle.card.id
        shutil.copytree(bundle.path, beside)
        if bundles.load(beside).sha256 != bundle.sha256:
            raise StoreError("The bundle changed while it was copied; add it again.")
        return Path(beside.rename(_free(root, bundle.card.id)))


def pack(bundle: Bundle) -> bytes:
    """The bundle as a zip: one folder named after its id."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (*bundles.files(bundle.path), bundles.SUMS):
            archive.write(bundle.path / name, f"{bundle.card.id}/{name}")
    return packed.getvalue()


def unpack(content: bytes) -> Path:
    """Import a zip made by `pack`. Raises StoreError for a zip that is none or is hostile, BundleError for the rest."""
    with tempfile.TemporaryDirectory(prefix="kdlight-import-") as inside:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                _extract(archive, Path(inside))
        except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise StoreError("This is no readable zip file; a bundle's zip was expected.") from error
        roots = [p.parent for p in Path(inside).rglob(bundles.SUMS)]
        if len(roots) != 1:
            raise StoreError(f"The zip holds {len(roots)} bundles; exactly one was expected. Pack one bundle's folder.")
        return add(roots[0])


def remove(bundle: Bundle) -> None:
    """Delete a bundle of the user's library. Raises StoreError for a shipped one: those stay."""
    if bundle.path.resolve().parent != bundles.library_folder().resolve():
        raise StoreError(f"{bundle.card.name} came with kdlight and stays; only your own bundles can be deleted.")
    shutil.rmtree(bundle.path)


def _extract(archive: zipfile.ZipFile, target: Path) -> None:
    """Plain files only, none outside the target, none beyond the limits, whatever the archive's headers say."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MOST_FILES:
        raise StoreError(f"The zip holds {len(entries)} files; at most {MOST_FILES} were expected in a bundle.")
    left = MOST_BYTES
    for entry in entries:
        place = _place(entry)
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, (target / place).open("xb") as file:
            while block := source.read(1 << 20):
                left -= len(block)
                if left < 0:
                    raise StoreError(f"The zip unpacks to more than {MOST_BYTES >> 20} MB; a bundle is smaller.")
                file.write(block)


def _place(entry: zipfile.ZipInfo) -> PurePosixPath:
    place = PurePosixPath(entry.filename.replace("\\", "/"))
    link = stat.S_ISLNK(entry.external_attr >> 16)
    if link or place.is_absolute() or ".." in place.parts or not place.parts or ":" in entry.filename:
        raise StoreError("The zip holds a link or a path that leads outside; plain files were expected.")
    return place


def _free(root: Path, name: str) -> Path:
    for number in range(1, 1000):
        place = root / (name if number == 1 else f"{name}-{number}")
        if not place.exists():
            return place
    raise StoreError(f"The library holds {name} a thousand times; delete some of them.")
