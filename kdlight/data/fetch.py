"""MedMNIST sets by name, fetched from where their authors publish them and checked by their checksum.

Names, addresses, MD5 sums, class names and licenses are the medmnist package's (Apache-2.0, an extra). The recipe that
is written beside a set carries its license, citation and class names into whatever is trained on it.
"""

from __future__ import annotations

import hashlib
import http.client
import runpy
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError

from pydantic import BaseModel, ConfigDict

from kdlight import storage
from kdlight.contracts.recipe import ClassWords, Recipe, default_recipe
from kdlight.data.dataset import DataError, Progress

SIZES = (28, 64, 128, 224)
"""Sides in pixels that every flat set is published in."""
LEAST_INPUT = 64
"""A network of stride 32 sees too little of fewer pixels, so smaller images are enlarged to these; ours."""
PATIENCE = 20.0
"""Seconds in which the server must answer, and after every piece go on answering."""
PIECE = 1 << 20
CITATION = "MedMNIST v2 (Yang et al., Scientific Data 2023, https://doi.org/10.1038/s41597-022-01721-8)"
FREE = "CC BY 4.0"
"""The license of all sets but one; it asks for no more than the citation."""

KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "pathmnist": ("histopathology", ()),
    "dermamnist": ("dermatoscopy", ()),
    "octmnist": ("oct", ()),
    "pneumoniamnist": ("xray", ("chest",)),
    "retinamnist": ("fundus", ()),
    "breastmnist": ("ultrasound", ("breast",)),
    "bloodmnist": ("blood", ()),
    "organamnist": ("ct", ()),
    "organcmnist": ("ct", ()),
    "organsmnist": ("ct", ()),
}
"""What kdlight calls the pictures of the sets that it can train on, and the body part that each of them shows."""
NOT_YET = {
    "chestmnist": "each of its images carries several findings at once, and kdlight trains on one class an image",
    "tissuemnist": "it is fluorescence microscopy, which kdlight has no modality for",
}
VOLUMES = "it is of volumes, and kdlight reads single pictures"
SAME_IMAGES = {"breastmnist": "BUSI", "dermamnist": "HAM10000"}


class PublishedSet(BaseModel):
    """One set at one size, as its authors publish it."""

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    size: int
    """Side in pixels."""
    task: Literal["binary-class", "multi-class", "ordinal-regression"]
    classes: tuple[str, ...]
    """In the order of the labels, which the file holds as numbers from 0."""
    images: dict[str, int]
    """By split."""
    modality: str
    license: str
    description: str
    citation: str = CITATION
    url: str
    md5: str

    @property
    def stem(self) -> str:
        """Of its file."""
        return self.name if self.size == SIZES[0] else f"{self.name}_{self.size}"

    def recipe(self, path: Path) -> Recipe:
        """The neutral recipe of its modality, with all that is known of the set."""
        plain = default_recipe(path, self.modality)
        limits = ["Its splits are MedMNIST's own; whether a patient is in two of them is not in the file."]
        if self.task == "ordinal-regression":
            limits.append("Its classes are grades in order; they are learned and scored as classes without one.")
        if self.name in SAME_IMAGES:
            limits.append(f"Its images are those of {SAME_IMAGES[self.name]}: neither set is a test for the other.")
        data = plain.data.changed(
            name=self.stem,
            title=f"{self.title}, {self.size} px",
            size=max(self.size, LEAST_INPUT),
            body_parts=KINDS[self.name][1],
            source=CITATION,
            licence=self.license,
            weights_licence=plain.data.weights_licence if self.license == FREE else f"{self.license}, as the data",
            limits=tuple(limits),
            classes={str(label): ClassWords(words=words) for label, words in enumerate(self.classes)},
        )
        return plain.changed(data=data)


def published_sets(size: int = SIZES[0]) -> dict[str, PublishedSet]:
    """The sets that can be fetched, by name. Raises DataError without the medmnist package."""
    entries = _entries()
    return {name: _of(name, entries[name], size) for name in KINDS}


def published_set(name: str, size: int = SIZES[0]) -> PublishedSet:
    """Raises DataError for a name or size that there is not, and for a set that kdlight cannot train on."""
    if size not in SIZES:
        raise DataError(f"MedMNIST sets have {', '.join(map(str, SIZES))} px, not {size}. Choose one of them.")
    if name in KINDS:
        return published_sets(size)[name]
    known = f"One of {', '.join(KINDS)} was expected."
    if name in _entries():
        raise DataError(f"{name} is not fetched: {NOT_YET.get(name, VOLUMES)}. {known}")
    raise DataError(f"MedMNIST has no set {name!r}. {known}")


def fetch(wanted: PublishedSet, path: Path, progress: Progress | None = None) -> bool:
    """Put a set's file at `path`; False where it lies there already. progress: of the bytes.

    Whoever put it there, it is the published one by its MD5, or it is refused and left alone. Raises DataError with the
    address where it cannot be fetched, OSError where it cannot be written.
    """
    if path.exists():
        with path.open("rb") as file:
            _check(wanted, path, hashlib.file_digest(file, _md5).hexdigest())
        return False
    digest, done = _md5(), 0
    with storage.replacing(path) as beside:
        with beside.open("wb") as file:
            for piece, total in _pieces(wanted, path):
                file.write(piece)
                digest.update(piece)
                done += len(piece)
                if progress and total:
                    progress(done, total)
        _check(wanted, path, digest.hexdigest())
    return True


def _pieces(wanted: PublishedSet, path: Path) -> Iterator[tuple[bytes, int]]:
    """What the set's address answers, piece by piece, each with the bytes of the whole, 0 where it does not say."""
    try:
        with urllib.request.urlopen(wanted.url, timeout=PATIENCE) as answer:
            total = int(answer.headers.get("Content-Length") or 0)
            while piece := answer.read(PIECE):
                yield piece, total
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is the answer, with its connection
        raise DataError(
            f"{wanted.title} cannot be fetched from {wanted.url} ({getattr(error, 'reason', error)}). Fetch it by hand "
            f"there, on a machine with a network, put it at {path.absolute()}, and run this again: it is checked then."
        ) from error


def _check(wanted: PublishedSet, path: Path, digest: str) -> None:
    if digest != wanted.md5:
        raise DataError(
            f"{path} would not be {wanted.title} at {wanted.size} px as it is published: its MD5 is {digest}, and "
            f"{wanted.md5} was expected. Remove what is there, if anything, and fetch it anew from {wanted.url}."
        )


def _md5() -> Any:
    """MD5 is what the authors publish; it tells a torn or another file, not a forged one."""
    return hashlib.md5(usedforsecurity=False)


def _entries() -> dict[str, Any]:
    """What the medmnist package knows of its sets; read from its table alone, since the package imports torch."""
    package = find_spec("medmnist")
    if package is None or package.origin is None:
        raise DataError(
            "The names and addresses of MedMNIST's sets are in the medmnist package, which is not installed; run: "
            "pip install medmnist==3.0.2"
        )
    entries: dict[str, Any] = runpy.run_path(str(Path(package.origin).with_name("info.py")))["INFO"]
    return entries


def _of(name: str, entry: dict[str, Any], size: int) -> PublishedSet:
    ending = "" if size == SIZES[0] else f"_{size}"
    return PublishedSet(
        **{key: entry[key] for key in ("task", "license", "description")},
        name=name,
        title=entry["python_class"],
        size=size,
        classes=tuple(entry["label"].values()),
        images=entry["n_samples"],
        modality=KINDS[name][0],
        url=entry[f"url{ending}"],
        md5=entry[f"MD5{ending}"],
    )
