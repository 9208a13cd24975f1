"""What `kdlight data check` finds: everything that would make a training or its numbers worth less."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import PIL.Image

from kdlight.data.dataset import UNSPLIT, DataError, Dataset, Item, Progress
from kdlight.data.notes import notes
from kdlight.data.splits import LEAST_GROUPS, lone_class, straddling, strange_splits
from kdlight.images import Image

FEW = 10
"""Below so many images in a split, a class is learned or measured poorly."""
NAMED = 3
"""Files or groups that a sentence names."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One decoded item, without its pixels."""

    item: Item
    pixels: str
    """sha256 of shape, type and decoded pixels."""
    look: int
    """64-bit difference hash: equal for pictures that look alike."""
    shape: tuple[int, int]
    color: bool


def check(dataset: Dataset, progress: Progress | None = None) -> dict[str, Any]:
    """Decode every image and report, JSON-ready. `problems` are sentences; `ok` is true where there are none.

    notes are sentences on how the set was understood and on what of its folder is left out, which is no problem by
    itself; left_out holds the same by reason, with counts and a few paths. masks: images that have one. not_patients:
    folders in the classes that are too few for the splits, and so no groups.

    duplicates are equal in every decoded pixel, whatever their files; look_alikes have the same 64-bit difference hash
    across splits: a hint, since plain pictures look alike too.
    """
    seen, unreadable = _decode_all(dataset, progress)
    duplicates = _alike(dataset, seen, "pixels")
    found = {
        "name": dataset.source.name,
        "images": len(dataset),
        "classes": list(dataset.classes),
        "splits": list(dataset.splits),
        "counts": {split: dataset.split(split).counts() for split in dataset.splits},
        "groups": len({item.group for item in dataset.items}),
        "structure": asdict(dataset.structure),
        "not_patients": list(dataset.not_patients),
        "masks": len(dataset.masks),
        "left_out": [asdict(row) for row in dataset.left_out],
        "notes": notes(dataset),
        "unreadable": unreadable,
        "duplicates": duplicates,
        "look_alikes": [d for d in _alike(dataset, seen, "look") if len(d["splits"]) > 1],
        "groups_across_splits": straddling(dataset),
        "few": _few(dataset),
        "sizes": _sizes(seen),
    }
    problems = [*_problems(found), *strange_splits(dataset), *lone_class(dataset), *_too_few_groups(dataset)]
    return {**found, "problems": problems, "ok": not problems}


def _decode_all(dataset: Dataset, progress: Progress | None) -> tuple[list[Seen], list[dict[str, str]]]:
    def one(item: Item) -> Seen | dict[str, str]:
        try:
            return _look(item, dataset.source.image(item.ref))
        except DataError as error:
            return {"path": item.ref, "reason": str(error)}

    results: list[Seen | dict[str, str]] = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for result in pool.map(one, dataset.items):
            results.append(result)
            if progress and (len(results) % 16 == 0 or len(results) == len(dataset)):
                progress(len(results), len(dataset))
    return [r for r in results if isinstance(r, Seen)], [r for r in results if isinstance(r, dict)]


def _look(item: Item, image: Image) -> Seen:
    pixels = np.ascontiguousarray(image.pixels)
    digest = hashlib.sha256(f"{pixels.shape} {pixels.dtype} ".encode())
    digest.update(pixels.data)
    return Seen(item, digest.hexdigest(), difference_hash(image.display()), image.shape, pixels.ndim == 3)


def difference_hash(picture: np.ndarray) -> int:
    """64 bits: whether each of 8 x 8 cells of the gray picture is brighter than its left neighbor (Krawetz 2013)."""
    small = PIL.Image.fromarray(picture).convert("L").resize((9, 8), PIL.Image.Resampling.BILINEAR)
    cells = np.asarray(small, dtype=np.int16)
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")


def _alike(dataset: Dataset, seen: Iterable[Seen], by: str) -> list[dict[str, Any]]:
    """Sets of items whose `by` is equal, with the splits and classes they lie in."""
    same: dict[Any, list[Item]] = defaultdict(list)
    for one in seen:
        same[getattr(one, by)].append(one.item)
    return [
        {
            "paths": [item.ref for item in items],
            "splits": sorted({item.split for item in items}),
            "classes": sorted({dataset.classes[item.label] for item in items}),
            "groups": len({item.group for item in items}),
        }
        for items in same.values()
        if len(items) > 1
    ]


def _few(dataset: Dataset) -> list[dict[str, Any]]:
    counts = {split: dataset.split(split).counts() for split in dataset.splits}
    return [
        {"split": split, "class": name, "images": count}
        for split, found in counts.items()
        for name, count in found.items()
        if count < FEW
    ]


def _too_few_groups(dataset: Dataset) -> list[str]:
    """Classes that cannot be shared out where splits must still be carved."""
    source = "train" if "train" in dataset.splits else UNSPLIT
    if source not in dataset.splits or {"val", "test"} <= set(dataset.splits):
        return []
    groups: dict[int, set[str]] = defaultdict(set)
    for item in dataset.split(source).items:
        groups[item.label].add(item.group)
    needed = LEAST_GROUPS - len({"val", "test"} & set(dataset.splits))
    return [
        f"Class {dataset.classes[label]!r} has {len(found)} group(s) of images; at least {needed} are needed to carve "
        f"the splits it lacks."
        for label, found in sorted(groups.items())
        if len(found) < needed
    ]


def _sizes(seen: Sequence[Seen]) -> dict[str, Any] | None:
    """Rows and columns (smallest, median and largest side by side), and how many are in color."""
    if not seen:
        return None
    shapes = np.array([one.shape for one in seen])
    return {
        "smallest": shapes.min(axis=0).tolist(),
        "median": np.median(shapes, axis=0).astype(int).tolist(),
        "largest": shapes.max(axis=0).tolist(),
        "color": sum(one.color for one in seen),
        "gray": sum(not one.color for one in seen),
    }


def _problems(found: dict[str, Any]) -> list[str]:
    across = [d for d in found["duplicates"] if len(d["splits"]) > 1]
    torn = [d for d in found["duplicates"] if len(d["classes"]) > 1]
    empty = [f"{few['class']} in {few['split']}" for few in found["few"] if not few["images"]]
    straddle = list(found["groups_across_splits"])
    unreadable = [one["path"] for one in found["unreadable"]]
    lost = [path for row in found["left_out"] if row["reason"] == "mask-without-image" for path in row["examples"]]
    candidates = (
        (unreadable, "{n} file(s) cannot be read ({some}): replace or remove them."),
        (
            _equal(across),
            "{n} set(s) of equal images lie in several splits ({some}): the test is partly learned by heart.",
        ),
        (_equal(torn), "{n} set(s) of equal images carry several classes ({some}): at least one label is wrong."),
        (straddle, "{n} group(s) lie in more than one split ({some}): move each into one, or carve the splits anew."),
        (empty, "{n} class(es) have no image in a split: {some}."),
        (lost, "The images of some masks are missing ({some}): put them back, or remove the masks."),
    )
    return [words.format(n=len(bad), some=_some(bad)) for bad, words in candidates if bad]


def _equal(found: Sequence[dict[str, Any]]) -> list[str]:
    return [" = ".join(one["paths"]) for one in found]


def _some(names: Sequence[str]) -> str:
    """The first few of them, and that there are more; the JSON has all."""
    return "; ".join([*names[:NAMED], *(["..."] if len(names) > NAMED else [])])
