"""What `kdlight data check` finds: everything that would make a training or its numbers worth less."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, computed_field

from kdlight.data.dataset import UNSPLIT, DataError, Dataset, Item, LeftOut, Progress, Structure
from kdlight.data.notes import first_of, notes
from kdlight.data.splits import LEAST_GROUPS, lone_class, straddling, strange_splits
from kdlight.data.twins import counts_of, sketch
from kdlight.data.walk import in_threads

FEW = 10
"""Below so many images in a split, a class is learned or measured poorly."""


class Part(BaseModel):
    """A part of the answer, as JSON has it."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)


class Unreadable(Part):
    path: str
    reason: str


class Alike(Part):
    """Images that are equal or look alike, with the splits and classes they lie in."""

    paths: list[str]
    splits: list[str]
    classes: list[str]
    groups: int


class Few(Part):
    split: str
    class_name: str = Field(validation_alias=AliasChoices("class", "class_name"), serialization_alias="class")
    images: int


class Sizes(Part):
    """Rows and columns: smallest, median and largest of each; and how many images are in color."""

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    color: int
    gray: int


class NearTwins(Part):
    """Images of a split that an image of the training split shows almost as they are, see `kdlight.data.twins`."""

    split: str
    images: int
    near_twins: int

    @property
    def words(self) -> str:
        return (
            f"{self.near_twins} of {self.images} images of {self.split} are near-twins of training images (the same "
            f"picture again, or the next slice): scores on them are too good."
        )


class Check(Part):
    """The answer. `problems` are sentences, and `ok` is true where there are none."""

    name: str = ""
    images: int
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    """Images by split and class."""
    groups: int
    structure: Structure = Structure()
    not_patients: tuple[str, ...] = ()
    """Folders in the classes that are too few for the splits, and so no groups."""
    masks: int = 0
    """Images that have one."""
    left_out: tuple[LeftOut, ...] = ()
    notes: list[str] = []
    """How the set was understood and what of its folder is left out, which is no problem by itself."""
    unreadable: list[Unreadable] = []
    duplicates: list[Alike] = []
    """Equal in every decoded pixel, whatever their files."""
    look_alikes: list[Alike] = []
    """The same 64-bit difference hash across splits: a hint, since plain pictures look alike too."""
    near_twins: list[NearTwins] = []
    """By split, of those beside a training split."""
    groups_across_splits: dict[str, list[str]] = {}
    few: list[Few] = []
    sizes: Sizes | None = None
    problems: list[str] = []

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class Seen(NamedTuple):
    """One decoded item, without its pixels."""

    item: Item
    pixels: str
    """sha256 of shape, type and decoded pixels."""
    sketch: np.ndarray
    """See `kdlight.data.twins.sketch`."""
    hash: int
    """See `difference_hash`."""
    shape: tuple[int, int]
    color: bool


def check(dataset: Dataset, progress: Progress | None = None) -> Check:
    """Decode every image of a set and report. `progress`: of the images decoded."""
    seen, unreadable = _decode_all(dataset, progress)
    counts = {split: dataset.split(split).counts() for split in dataset.splits}
    near_twins = _near_twins(seen)
    result = Check(
        name=dataset.source.name,
        images=len(dataset),
        classes=dataset.classes,
        splits=dataset.splits,
        counts=counts,
        groups=len({item.group for item in dataset.items}),
        structure=dataset.structure,
        not_patients=dataset.not_patients,
        masks=len(dataset.masks),
        left_out=dataset.left_out,
        notes=[*notes(dataset), *(one.words for one in near_twins if one.near_twins), *_scarce(counts)],
        unreadable=unreadable,
        duplicates=_alike(dataset, [(one.pixels, one.item) for one in seen]),
        look_alikes=[a for a in _alike(dataset, [(one.hash, one.item) for one in seen]) if len(a.splits) > 1],
        near_twins=near_twins,
        groups_across_splits=straddling(dataset),
        few=[
            Few(split=split, class_name=name, images=count)
            for split, classes in counts.items()
            for name, count in classes.items()
            if count < FEW
        ],
        sizes=_sizes(seen),
    )
    problems = [*_problems(result), *strange_splits(dataset), *lone_class(dataset), *_too_few_groups(dataset)]
    return result.model_copy(update={"problems": problems})


def _decode_all(dataset: Dataset, progress: Progress | None) -> tuple[list[Seen], list[Unreadable]]:
    def one(item: Item) -> Seen | Unreadable:
        try:
            image = dataset.source.image(item.ref)
        except DataError as error:
            return Unreadable(path=item.ref, reason=str(error))
        pixels = np.ascontiguousarray(image.pixels)
        digest = hashlib.sha256(f"{pixels.shape} {pixels.dtype} ".encode())
        digest.update(pixels.data)
        shown = image.display()
        return Seen(item, digest.hexdigest(), sketch(shown), difference_hash(shown), image.shape, pixels.ndim == 3)

    results = list(in_threads(one, dataset.items, progress))
    return [r for r in results if isinstance(r, Seen)], [r for r in results if isinstance(r, Unreadable)]


def difference_hash(picture: np.ndarray) -> int:
    """64 bits: whether each of 8 x 8 cells of the gray picture is brighter than its left neighbor (Krawetz 2013)."""
    small = PIL.Image.fromarray(picture).convert("L").resize((9, 8), PIL.Image.Resampling.BILINEAR)
    cells = np.asarray(small, dtype=np.int16)
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")


def _alike(dataset: Dataset, keyed: Sequence[tuple[str | int, Item]]) -> list[Alike]:
    """Sets of items whose key is equal."""
    same: dict[str | int, list[Item]] = defaultdict(list)
    for key, item in keyed:
        same[key].append(item)
    return [
        Alike(
            paths=[item.ref for item in items],
            splits=sorted({item.split for item in items}),
            classes=sorted({dataset.classes[item.label] for item in items}),
            groups=len({item.group for item in items}),
        )
        for items in same.values()
        if len(items) > 1
    ]


def _too_few_groups(dataset: Dataset) -> list[str]:
    """Classes that cannot be shared out where splits must still be carved."""
    source = "train" if "train" in dataset.splits else UNSPLIT
    present = {"val", "test"} & set(dataset.splits)
    if source not in dataset.splits or len(present) == 2:
        return []
    groups: dict[int, set[str]] = defaultdict(set)
    for item in dataset.split(source).items:
        groups[item.label].add(item.group)
    needed = LEAST_GROUPS - len(present)
    return [
        f"Class {dataset.classes[label]!r} has images of {len(names)} group(s); {needed} were expected, one for each "
        f"split that is to have it. Add images of it, or take the class out."
        for label, names in sorted(groups.items())
        if len(names) < needed
    ]


def _scarce(counts: dict[str, dict[str, int]]) -> list[str]:
    few = [f"{c} in {split}: {n}" for split, by in counts.items() for c, n in by.items() if 0 < n < FEW]
    return [
        f"Fewer than {FEW} images of a class ({first_of(few)}): what is learned or measured there is a guess."
    ] * bool(few)


def _near_twins(seen: Sequence[Seen]) -> list[NearTwins]:
    """Of every split but the training one; none where there is none."""
    by_split: dict[str, list[np.ndarray]] = defaultdict(list)
    for one in seen:
        by_split[one.item.split].append(one.sketch)
    train = by_split.pop("train", [])
    return [
        NearTwins(split=split, images=len(others), near_twins=int((counts_of(others, train) > 0).sum()))
        for split, others in sorted(by_split.items())
        if train
    ]


def _sizes(seen: Sequence[Seen]) -> Sizes | None:
    if not seen:
        return None
    shapes = np.array([one.shape for one in seen])
    smallest, middle, largest = shapes.min(axis=0), np.median(shapes, axis=0).astype(int), shapes.max(axis=0)
    color = sum(one.color for one in seen)
    sides = {"smallest": smallest.tolist(), "median": middle.tolist(), "largest": largest.tolist()}
    return Sizes(**sides, color=color, gray=len(seen) - color)


def _problems(result: Check) -> list[str]:
    across = [" = ".join(alike.paths) for alike in result.duplicates if len(alike.splits) > 1]
    torn = [" = ".join(alike.paths) for alike in result.duplicates if len(alike.classes) > 1]
    empty = [f"{few.class_name} in {few.split}" for few in result.few if not few.images]
    lost = [path for row in result.left_out if row.reason == "mask-without-image" for path in row.examples]
    straddle = list(result.groups_across_splits)
    candidates = (
        ([one.path for one in result.unreadable], "{n} file(s) cannot be read ({some}): replace or remove them."),
        (across, "{n} set(s) of equal images lie in several splits ({some}): the training has seen part of the test."),
        (torn, "{n} set(s) of equal images carry several classes ({some}): at least one label is wrong."),
        (straddle, "{n} group(s) lie in more than one split ({some}): move each into one, or carve the splits anew."),
        (empty, "A split has no image of a class ({some}): add some, or move a part of the others' there."),
        (lost, "The images of some masks are missing ({some}): put them back, or remove the masks."),
    )
    return [words.format(n=len(bad), some=first_of(bad)) for bad, words in candidates if bad]
