"""COVID-QU-Ex (Tahir et al., Computers in Biology and Medicine 2021): chest X-rays in three classes.

Fact: 33,920 images (11,956 COVID-19, 11,263 Non-COVID, 10,701 Normal), each with a lung mask, in the set's own splits:
`Lung Segmentation Data/{Train,Val,Test}/{COVID-19,Non-COVID,Normal}/{images,lung masks}`. A smaller part of them stands
once more under `Infection Segmentation Data`, with infection masks beside; it is read only where a person names it.
Ours: an image is its own group, since the set names no patients; so a patient may lie in two of its splits.
"""

from __future__ import annotations

from pathlib import Path

from kdlight.data.dataset import DataError
from kdlight.data.files import Labels, Layout, Row
from kdlight.data.walk import visible_files, visible_folders

CLASSES = ("COVID-19", "Non-COVID", "Normal")
FOLDERS = {"Train": "train", "Val": "val", "Test": "test"}
LUNGS = "Lung Segmentation Data"
IMAGES = "images"


def is_covidquex(root: Path) -> bool:
    """Whether the folder, or the lung part in it, holds splits of class folders with images and masks in them."""
    places = [_part(root) / split / name for split in FOLDERS for name in CLASSES]
    return any((place / IMAGES).is_dir() or _masks(place) for place in places)


def read_covidquex(root: Path, task: str = "") -> Labels:
    """The set with its own splits. It has no tasks. Raises DataError for half a set.

    Masks are never items but ground truth: those of the infection, else of the lungs.
    """
    part = _part(root)
    absent = [name for name in FOLDERS if not (part / name).is_dir()]
    if absent:
        raise DataError(
            f"{part} has no folder {', '.join(absent)}; COVID-QU-Ex has Train, Val and Test. Unpack the whole archive."
        )
    labels = Labels()
    for split, name in ((split, name) for split in FOLDERS for name in CLASSES):
        folder = part / split / name
        files = {path.stem: path.relative_to(root).as_posix() for path in visible_files(folder / IMAGES)}
        if not files:
            raise DataError(f"{folder / IMAGES} holds no images; unpack COVID-QU-Ex again.")
        masks = [path for inner in _masks(folder) for path in visible_files(inner)]
        alone = sorted({path.stem for path in masks} - set(files))
        if alone:
            raise DataError(
                f"{folder} has {len(alone)} masks without their image ({alone[0]} first). Unpack COVID-QU-Ex again."
            )
        labels.rows += [Row(path, name, FOLDERS[split], path) for path in files.values()]
        labels.masks |= {files[mask.stem]: (mask,) for mask in masks}
        labels.ledger.add("mask", *(mask.relative_to(root).as_posix() for mask in masks))
    return labels


def _part(root: Path) -> Path:
    """Where Train, Val and Test lie: here, or in the lung part. The archive nests each part in a folder of its name."""
    return next((part for part in (root / LUNGS / LUNGS, root / LUNGS, root / root.name) if part.is_dir()), root)


def _masks(folder: Path) -> list[Path]:
    """The folders of masks of a class, that of the infection last."""
    masks = [inner for inner in visible_folders(folder) if inner.name.lower().endswith("masks")]
    return sorted(masks, key=lambda inner: "infection" in inner.name.lower())


LAYOUT = Layout("COVID-QU-Ex: chest X-rays in its own splits, masks left out", is_covidquex, read_covidquex)
