"""HAM10000 (Tschandl et al., Scientific Data 2018): dermatoscopic images of pigmented skin lesions.

Fact: 10,015 images of 7,470 lesions in seven classes, listed in HAM10000_metadata.csv (lesion_id, image_id, dx, ...),
in the folders HAM10000_images_part_1 and HAM10000_images_part_2. The set has no splits.
Fact: the skin-cancer system (arXiv 2406.17051) tells benign from malignant. Ours: which class is which, since its
abstract does not say; akiec, in part a preliminary stage, counts as malignant. A lesion is a group.
"""

from __future__ import annotations

from pathlib import Path

from kdlight.data.dataset import UNSPLIT, DataError, Dataset
from kdlight.data.source import labelled
from kdlight.data.table import read_table
from kdlight.data.walk import Ledger, visible_files, visible_folders

METADATA = "HAM10000_metadata.csv"
PARTS = "ham10000_images_part"
"""How the folders of images begin, in lower case: copies of the archive spell them differently."""
OUTLINES = "ham10000_segmentations"
"""How the folder of outlines begins, where it was unpacked beside them."""
COLUMNS = ("lesion_id", "image_id", "dx")
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
MALIGNANT = ("akiec", "bcc", "mel")
TASKS = {"binary": "benign or malignant"}


def is_ham10000(root: Path) -> bool:
    """Whether the metadata lies there, or a folder of images whose metadata is missing."""
    return (root / METADATA).is_file() or bool(_parts(root))


def open_ham10000(root: Path, task: str = "") -> Dataset:
    """Seven classes; with the task "binary" benign and malignant. Raises DataError for half a set, with the line."""
    if not (root / METADATA).is_file():
        raise DataError(f"{root} has HAM10000's images but no {METADATA}; it names their classes. Put it beside them.")
    files = {path.stem: path for folder in reversed(_parts(root)) for path in visible_files(folder)}
    rows: dict[str, tuple[str, str, str, str]] = {}
    for line, row in read_table(root / METADATA, COLUMNS, COLUMNS):
        where, name = f"{METADATA} line {line}", row["image_id"]
        if row["dx"] not in CLASSES:
            raise DataError(f"{where}: dx is {row['dx']!r}; one of {', '.join(CLASSES)} was expected.")
        if name in rows:
            raise DataError(f"{where}: {name} is listed already; list each image once.")
        if name not in files:
            raise DataError(
                f"{where}: the image {name} is not in the set's folders; "
                f"HAM10000_images_part_1 and _part_2 were expected whole. Unpack both archives."
            )
        rows[name] = files[name].relative_to(root).as_posix(), _class(row["dx"], task), UNSPLIT, row["lesion_id"]
    outlines = _outlines(root)
    masks = {row[0]: (outlines[name],) for name, row in rows.items() if name in outlines}
    ledger = Ledger()
    ledger.add("mask", *(path.relative_to(root).as_posix() for path in outlines.values()))
    return labelled(root, list(rows.values()), masks, ledger)


def _class(dx: str, task: str) -> str:
    if task != "binary":
        return dx
    return "malignant" if dx in MALIGNANT else "benign"


def _outlines(root: Path) -> dict[str, Path]:
    """The lesions' outlines by the image's name: HAM10000_segmentations_lesion_tschandl/<image_id>_segmentation.png."""
    folders = [folder for folder in visible_folders(root) if folder.name.lower().startswith(OUTLINES)]
    files = (path for folder in folders for path in visible_files(folder))
    return {path.stem.removesuffix("_segmentation"): path for path in files}


def _parts(root: Path) -> list[Path]:
    return [folder for folder in visible_folders(root) if folder.name.lower().startswith(PARTS)]
