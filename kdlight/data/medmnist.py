"""A MedMNIST `.npz` file as a labeled set (Yang et al., Scientific Data 2023): `<split>_images`, `<split>_labels`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from kdlight.contracts.modality import Window
from kdlight.data.dataset import SPLITS, DataError, Dataset, Item
from kdlight.images import Image

EXPECTED = "train_images, train_labels, val_..., test_... were expected"


@dataclass(frozen=True, slots=True, eq=False)
class ArraySource:
    """Images held as arrays, one per split; a ref is `split/index`."""

    path: Path
    arrays: Mapping[str, np.ndarray]
    """uint8 (N, H, W) or (N, H, W, 3) per split."""

    @property
    def name(self) -> str:
        return str(self.path)

    def image(self, ref: str) -> Image:
        split, index = ref.split("/")
        pixels = self.arrays[split][int(index)]
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        shown, windows = (pixels, ()) if pixels.ndim == 3 else (pixels.astype(np.float32), (Window(127.5, 255),))
        return Image(pixels=shown, sha256=digest, format="npz", bits=8, windows=windows)

    def file(self, ref: str) -> None:
        """None: the items have no files of their own."""

    def stamp(self, ref: str) -> str:
        stat = self.path.stat()
        return f"{stat.st_size}:{stat.st_mtime_ns}"


def open_npz(path: Path, classes: Sequence[str] | None = None) -> Dataset:
    """The set in an npz file; nothing in it is ever unpickled.

    `classes` names labels 0, 1, ... in order; without it they are called "0", "1", ... Raises DataError.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            content = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, BadZipFile, EOFError, AttributeError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a plain npz file: {error}. {EXPECTED}, without objects.") from error
    splits = [split for split in SPLITS if f"{split}_images" in content]
    if not splits:
        raise DataError(f"{path} holds {', '.join(sorted(content)) or 'nothing'}; {EXPECTED}. Use a MedMNIST file.")
    arrays = {split: _images(path, split, content[f"{split}_images"]) for split in splits}
    labels = {split: _labels(path, split, content.get(f"{split}_labels"), len(arrays[split])) for split in splits}
    highest = max(int(values.max(initial=0)) for values in labels.values())
    names = tuple(str(name) for name in (classes if classes is not None else range(highest + 1)))
    if highest >= len(names) or len(set(names)) != len(names):
        raise DataError(
            f"{path} has labels 0 to {highest}, and the class names given are {', '.join(names)}. "
            f"Give {highest + 1} different names, in the order of the labels."
        )
    rows = [(f"{split}/{index}", int(label), split) for split in splits for index, label in enumerate(labels[split])]
    return Dataset(names, tuple(Item(*row, group=row[0]) for row in rows), ArraySource(path, arrays))


def _images(path: Path, split: str, images: np.ndarray) -> np.ndarray:
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)):
        raise DataError(
            f"{path}: {split}_images is {images.dtype} {images.shape}; uint8 (N, H, W) or (N, H, W, 3) was expected. "
            f"Three-dimensional sets are not covered."
        )
    return images


def _labels(path: Path, split: str, labels: np.ndarray | None, count: int) -> np.ndarray:
    if labels is not None and labels.ndim == 2 and labels.shape[1] > 1:
        raise DataError(
            f"{path}: {split}_labels holds {labels.shape[1]} labels for each image; one was expected. Sets with "
            f"several findings in an image, such as ChestMNIST, are not covered yet."
        )
    if labels is None or labels.size != count or labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
        shape = "absent" if labels is None else f"{labels.dtype} {labels.shape}"
        raise DataError(f"{path}: {split}_labels is {shape}; one whole number from 0 per image ({count}) was expected.")
    return labels.reshape(-1).astype(np.int64)
