"""COVID-QU-Ex (Tahir et al., Computers in Biology and Medicine 2021): chest X-rays in three classes.

Fact: 33,920 images (11,956 COVID-19, 11,263 Non-COVID, 10,701 Normal), each with a lung mask, in the set's own splits:
`Lung Segmentation Data/{Train,Val,Test}/{COVID-19,Non-COVID,Normal}/{images,lung masks}`. A smaller part of them stands
once more under `Infection Segmentation Data`, with infection masks beside; it is read only where a person names it.
Ours: an image is its own group, since the set names no patients; so a patient may lie in two of its splits.
"""

from __future__ import annotations

from pathlib import Path

from kdlight.data.dataset import DataError, Dataset
from kdlight.data.source import Row, labelled
from kdlight.data.walk import Ledger, visible_files, visible_folders

CLASSES = ("COVID-19", "Non-COVID", "Normal")
FOLDERS = {"Train": "train", "Val": "val", "Test": "test"}
LUNGS = "Lung Segmentation Data"
IMAGES = "images"
MASKS = "masks"
"""How the name of a folder of masks ends."""


def is_covidquex(root: Path) -> bool:
    """Whether the folder, or the lung part in it, holds splits of class folders with images and masks in them."""
    return any((split / name / IMAGES).is_dir() or _masks(split / name) for split, name in _places(_part(root)))


def open_covidquex(root: Path, task: str = "") -> Dataset:
    """The set with its own splits. It has no tasks. Raises DataError for half a set.

    Masks are never items but ground truth: those of the infection, else of the lungs.
    """
    part = _part(root)
    absent = [name for name in FOLDERS if not (part / name).is_dir()]
    if absent:
        raise DataError(
            f"{part} has no folder {', '.join(absent)}; COVID-QU-Ex has Train, Val and Test. Unpack the whole archive."
        )
    rows: list[Row] = []
    masks: dict[str, tuple[Path, ...]] = {}
    ledger = Ledger()
    for split, name in _places(part):
        folder = split / name / IMAGES
        files = visible_files(folder) if folder.is_dir() else []
        if not files:
            raise DataError(f"{folder} holds no images; unpack COVID-QU-Ex again.")
        _require_images_of_masks(split / name, files)
        refs = [path.relative_to(root).as_posix() for path in files]
        rows += [(ref, name, FOLDERS[split.name], ref) for ref in refs]
        outlines = _outlines(split / name)
        masks |= {ref: (outlines[path.stem],) for ref, path in zip(refs, files, strict=True) if path.stem in outlines}
        ledger.add("mask", *(p.relative_to(root).as_posix() for f in _masks(split / name) for p in visible_files(f)))
    return labelled(root, rows, masks, ledger)


def _outlines(folder: Path) -> dict[str, Path]:
    """The masks of a class by the name of their image: that of the infection before that of the lungs."""
    by_kind = sorted(_masks(folder), key=lambda masks: "infection" in masks.name.lower())
    return {path.stem: path for masks in by_kind for path in visible_files(masks)}


def _part(root: Path) -> Path:
    """Where Train, Val and Test lie: here, or in the lung part. The archive nests each part in a folder of its name."""
    for part in (root / LUNGS / LUNGS, root / LUNGS, root / root.name):
        if part.is_dir():
            return part
    return root


def _places(part: Path) -> list[tuple[Path, str]]:
    return [(part / split, name) for split in FOLDERS if (part / split).is_dir() for name in CLASSES]


def _masks(folder: Path) -> list[Path]:
    found = visible_folders(folder) if folder.is_dir() else []
    return [inner for inner in found if inner.name.lower().endswith(MASKS)]


def _require_images_of_masks(folder: Path, images: list[Path]) -> None:
    """A mask without its image means that images were lost."""
    stems = {path.stem for path in images}
    for masks in _masks(folder):
        alone = sorted({path.stem for path in visible_files(masks)} - stems)
        if alone:
            raise DataError(
                f"{folder} has {len(alone)} masks without their image ({alone[0]} first). Unpack COVID-QU-Ex again."
            )
