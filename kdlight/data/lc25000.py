"""LC25000 (Borkowski et al., arXiv 1912.12142): histopathology tiles of lung and colon in five classes.

Fact: 25,000 tiles of 768 px, 5,000 a class, in `{lung,colon}_image_sets/<class>/`; about 250 originals a class were
multiplied by turning them up to 25 degrees and mirroring them; the set names neither the originals nor any splits.
So a split by image puts copies of one tile on both sides. Ours: which tiles are of one origin, as kdlight.data.tiles
finds it by what the pictures hold; such tiles are one group. A group found so is likely, not certain.
"""

from __future__ import annotations

from pathlib import Path

from kdlight.data.dataset import UNSPLIT, DataError, Dataset
from kdlight.data.source import labelled
from kdlight.data.tiles import origins
from kdlight.data.walk import visible_files

CLASSES = {"colon": ("colon_aca", "colon_n"), "lung": ("lung_aca", "lung_n", "lung_scc")}
"""By organ, as the folders are called."""
FOLDER = "lung_colon_image_set"
TASKS = {"colon": "its two colon classes", "lung": "its three lung classes"}


def is_lc25000(root: Path) -> bool:
    """Whether the folder, or the archive's folder in it, holds an organ's folder of class folders."""
    return any((_part(root) / f"{organ}_image_sets").is_dir() for organ in CLASSES)


def open_lc25000(root: Path, task: str = "") -> Dataset:
    """Five classes; with the task "lung" or "colon" those of one organ. Raises DataError where a class is missing."""
    rows = []
    for organ in [task] if task else CLASSES:
        for name in CLASSES[organ]:
            folder = _part(root) / f"{organ}_image_sets" / name
            files = visible_files(folder) if folder.is_dir() else []
            if not files:
                hint = "" if task else f" Or open one organ alone: {root}#lung or {root}#colon."
                raise DataError(f"{folder} holds no tiles; LC25000 has them there. Unpack the whole archive.{hint}")
            found = zip(files, origins(files), strict=True)
            rows += [(p.relative_to(root).as_posix(), name, UNSPLIT, f"{name}-{number:04d}") for p, number in found]
    return labelled(root, rows)


def _part(root: Path) -> Path:
    return root / FOLDER if (root / FOLDER).is_dir() else root
