"""What was understood of a set and what of its folder is left out, in sentences for `data check`, pages and cards."""

from __future__ import annotations

from collections.abc import Sequence

from kdlight.data.dataset import SPLITS, Dataset, Reason
from kdlight.data.splits import LEAST_GROUPS
from kdlight.data.walk import NAMED

LEFT_OUT: dict[Reason, str] = {
    "mask": "{n} mask(s) are no images of the set; they are kept as ground truth for heat maps ({some}).",
    "mask-without-image": "{n} mask(s) are left out, since their images are missing ({some}).",
    "frames": "{n} frame(s) are left out: of a file of several frames the first is read ({some}). Write #frames after "
    "the set's path to take every frame; those of one file then stay in one split.",
    "system": "{n} file(s) left behind by an operating system or a storage device are left out ({some}).",
    "dicomdir": "{n} DICOMDIR file(s) are left out: each lists the files of a DICOM folder or disc and holds no image "
    "({some}).",
    "hidden": "{n} hidden file(s) are left out ({some}).",
    "not-an-image": "{n} file(s) that are no images are left out ({some}).",
    "not-listed": "{n} image(s) that manifest.csv does not list are left out ({some}).",
    "link": "{n} link(s) are left out, which lead nowhere or to a folder that is read already ({some}).",
}


def notes(dataset: Dataset) -> list[str]:
    """A sentence on each thing that was not plain, none where all was."""
    lines = []
    groups = len({item.group for item in dataset.items})
    if dataset.structure.splits == "folders in classes":
        lines.append(f"The folders in each class give the splits: {', '.join(dataset.splits)}.")
    if dataset.structure.groups == "folders in classes":
        lines.append(f"The folders in the classes are taken for patients: {groups} groups, of which none is split.")
    if dataset.structure.groups == "folders above classes":
        lines.append(f"The outer folders are taken for patients and the inner ones for classes: {groups} groups.")
    if dataset.not_patients:
        lines.append(
            f"Folders in the classes ({first_of(dataset.not_patients)}) are not taken for patients, since a class has "
            f"fewer than {LEAST_GROUPS} of them, too few for {', '.join(SPLITS)}; their images are not kept together. "
            f"If each is a patient, name it in the group column of a manifest.csv, which overrules this."
        )
    if dataset.doubtful:
        lines.append(
            f"{len(dataset.doubtful)} image(s) lie where masks do but hold more values than a mask "
            f"({first_of(dataset.doubtful)}); they stay in the set, each in the group of the image beside it. Take "
            f"them out if they are no images."
        )
    for row in dataset.left_out:
        more = row.reason != "frames" and row.count > len(row.examples)
        lines.append(LEFT_OUT[row.reason].format(n=row.count, some="; ".join([*row.examples, *["..."] * more])))
    if lacking := [name for name in SPLITS[1:] if name not in dataset.splits and SPLITS[0] in dataset.splits]:
        lines.append(f"A {' and a '.join(lacking)} split is lacking: a training carves it out of train, by group.")
    return lines


def had_a_part(split: str) -> str:
    """What to think of a pair's figures on a split, if the pair was made on this set; empty of the test split."""
    part = {"train": "it learned from these images", "val": "these images chose its best epoch"}
    part["all"] = "it learned from some of these images"
    return f"If the pair was made on this set, {part[split]}: the figures are then too good." if split in part else ""


def group_key(dataset: Dataset) -> str:
    """What is kept together in one split, for a card."""
    return {
        "file": "the file",
        "folders in classes": "folders in the classes, taken for patients",
        "folders above classes": "folders above the classes, taken for patients",
        "table": "group column of the set's manifest",
        "set": "as the published set gives it, else the file",
    }[dataset.structure.groups]


def first_of(names: Sequence[str]) -> str:
    """The first few of them, and that there are more."""
    return "; ".join([*names[:NAMED], *["..."] * (len(names) > NAMED)])
