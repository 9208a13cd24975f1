"""HAM10000 (Tschandl et al., Scientific Data 2018): dermatoscopic images of pigmented skin lesions.

Fact: 10,015 images of 7,470 lesions in seven classes, listed in HAM10000_metadata.csv (lesion_id, image_id, dx, ...),
in the folders HAM10000_images_part_1 and HAM10000_images_part_2. The set has no splits.
Fact: the skin-cancer system (arXiv 2406.17051) tells benign from malignant. Ours: which class is which, since its
abstract does not say; akiec, in part a preliminary stage, counts as malignant. A lesion is a group.
"""

from __future__ import annotations

from pathlib import Path

from kdlight.data.dataset import UNSPLIT, DataError
from kdlight.data.files import Labels, Layout, Row
from kdlight.data.manifest import read_table
from kdlight.data.walk import visible_files, visible_folders

METADATA = "HAM10000_metadata.csv"
PARTS = "ham10000_images_part"
"""How the folders of images begin, in lower case: copies of the archive spell them differently."""
OUTLINES = "ham10000_segmentations"
"""How the folder of outlines begins, where it was unpacked beside them: <image_id>_segmentation.png."""
COLUMNS = ("lesion_id", "image_id", "dx")
FACTS = ("age", "sex", "localization", "dataset")
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
MALIGNANT = ("akiec", "bcc", "mel")


def is_ham10000(root: Path) -> bool:
    """Whether the metadata lies there, or a folder of images whose metadata is missing."""
    return (root / METADATA).is_file() or bool(_files(root, PARTS))


def read_ham10000(root: Path, task: str = "") -> Labels:
    """Seven classes; with the task "binary" benign and malignant. Raises DataError for half a set, with the line."""
    if not (root / METADATA).is_file():
        raise DataError(f"{root} has HAM10000's images but no {METADATA}; it names their classes. Put it beside them.")
    files, outlines = _files(root, PARTS), _files(root, OUTLINES)
    labels, listed = Labels(), set[str]()
    for line, row in read_table(root / METADATA, COLUMNS, (*COLUMNS, *FACTS)):
        where, name, dx = f"{METADATA} line {line}", row["image_id"], row["dx"]
        if dx not in CLASSES:
            raise DataError(f"{where}: dx is none of {', '.join(CLASSES)}, one of which was expected. Correct it.")
        if name in listed:
            raise DataError(f"{where}: its image is listed already; list each image once.")
        if name not in files:
            raise DataError(
                f"{where}: its image is not in the set's folders; "
                f"HAM10000_images_part_1 and _part_2 were expected whole. Unpack both archives."
            )
        listed.add(name)
        if task == "binary":
            dx = "malignant" if dx in MALIGNANT else "benign"
        path = files[name].relative_to(root).as_posix()
        facts = tuple((fact, row[fact]) for fact in FACTS if row.get(fact, "unknown") != "unknown")
        labels.rows.append(Row(path, dx, UNSPLIT, row["lesion_id"], facts))
        if name in outlines:
            labels.masks[path] = (outlines[name],)
    labels.ledger.add("mask", *(path.relative_to(root).as_posix() for path in outlines.values()))
    return labels


def _files(root: Path, beginning: str) -> dict[str, Path]:
    """The images by name in the folders whose names begin so; of two copies the one in the first folder."""
    folders = [folder for folder in visible_folders(root) if folder.name.lower().startswith(beginning)]
    files = (path for folder in reversed(folders) for path in visible_files(folder))
    return {path.stem.removesuffix("_segmentation"): path for path in files}


LAYOUT = Layout(
    "HAM10000: skin lesions by its metadata, grouped by lesion",
    is_ham10000,
    read_ham10000,
    {"binary": "benign or malignant"},
)
