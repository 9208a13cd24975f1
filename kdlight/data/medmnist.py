"""A MedMNIST `.npz` file as a labelled set (Yang et al., Scientific Data 2023): `<split>_images`, `<split>_labels`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from kdlight.data.dataset import DataError, Dataset, Item
from kdlight.images import Image
from kdlight.modality import Window

EXPECTED = "train_images, train_labels, val_..., test_... were expected"


@dataclass(frozen=True, slots=True, eq=False)
class ArraySource:
    """Images held as arrays, one per split; a ref is `split/index`."""

    path: Path
    arrays: dict[str, np.ndarray]
    """uint8 (N, H, W) or (N, H, W, 3) per split."""

    @property
    def name(self) -> str:
        return str(self.path)

    def image(self, ref: str) -> Image:
        split, index = ref.split("/")
        pixels = self.arrays[split][int(index)]
        gray = pixels.ndim == 2
        return Image(
            pixels=pixels.astype(np.float32) if gray else pixels,
            sha256=hashlib.sha256(pixels.tobytes()).hexdigest(),
            format="npz",
            bits=8,
            windows=(Window(127.5, 255),) if gray else (),
        )

    def file(self, ref: str) -> None:
        """None: the items have no files of their own."""

    def stamp(self, ref: str) -> str:
        found = self.path.stat()
        return f"{found.st_size}:{found.st_mtime_ns}"


def open_npz(path: Path, classes: Sequence[str] | None = None) -> Dataset:
    """The set in an npz file; nothing in it is ever unpickled.

    `classes` names labels 0, 1, ... in order; without it they are called "0", "1", ... Raises DataError.
    """
    content = _arrays(path)
    splits = [split for split in ("train", "val", "test") if f"{split}_images" in content]
    if not splits:
        raise DataError(f"{path} holds {', '.join(sorted(content)) or 'nothing'}; {EXPECTED}. Use a MedMNIST file.")
    arrays = {split: _images(path, split, content) for split in splits}
    labels = {split: _labels(path, split, content) for split in splits}
    highest = max(int(found.max(initial=0)) for found in labels.values())
    names = tuple(str(name) for name in (classes if classes is not None else range(highest + 1)))
    if highest >= len(names) or len(set(names)) != len(names):
        raise DataError(
            f"{path} has labels 0 to {highest}, and the class names given are {', '.join(names)}. "
            f"Give {highest + 1} different names, in the order of the labels."
        )
    items = tuple(
        Item(f"{split}/{index}", int(label), split, f"{split}/{index}")
        for split in splits
        for index, label in enumerate(labels[split])
    )
    return Dataset(names, items, ArraySource(path, arrays))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, OSError, BadZipFile, EOFError, AttributeError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a plain npz file: {error}. {EXPECTED}, without objects.") from error


def _images(path: Path, split: str, content: dict[str, np.ndarray]) -> np.ndarray:
    found = content[f"{split}_images"]
    if found.ndim == 4 and found.shape[3] == 1:
        found = found[..., 0]
    if found.dtype != np.uint8 or not (found.ndim == 3 or (found.ndim == 4 and found.shape[3] == 3)):
        raise DataError(
            f"{path}: {split}_images is {found.dtype} {found.shape}; uint8 (N, H, W) or (N, H, W, 3) was expected. "
            f"Three-dimensional sets are not covered."
        )
    return found


def _labels(path: Path, split: str, content: dict[str, np.ndarray]) -> np.ndarray:
    found = content.get(f"{split}_labels")
    count = len(content[f"{split}_images"])
    if found is None or found.size != count or found.dtype.kind not in "iu" or found.min(initial=0) < 0:
        shape = "absent" if found is None else f"{found.dtype} {found.shape}"
        raise DataError(
            f"{path}: {split}_labels is {shape}; one whole number from 0 per image ({count}) was expected. "
            f"Sets with several labels per image are not covered."
        )
    return found.reshape(-1).astype(np.int64)
