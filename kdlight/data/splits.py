"""Splits by group: seeded, stratified by class, and the same on every platform."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from kdlight.data.dataset import SPLITS, UNSPLIT, DataError, Dataset

LEAST_GROUPS = len(SPLITS)
"""Groups a class needs to be in train, val and test."""
MIXED = -1
"""Stratum of the groups that hold more than one class."""


def parted(dataset: Dataset, shares: Mapping[str, float], seed: int) -> Dataset:
    """The set as a training wants it: in train, val and test, of which those that it lacks are carved.

    shares: of the images, per split that may be lacking. Raises DataError where a group straddles two splits, or where
    images are in none of the three, so that no image is left out unsaid.
    """
    strange = strange_splits(dataset)
    if strange:
        raise DataError(f"{dataset.source.name}: {'; '.join(strange)}")
    shared = straddling(dataset)
    if shared:
        group, splits = next(iter(shared.items()))
        raise DataError(
            f"{len(shared)} groups of {dataset.source.name} are in more than one split ({group} in "
            f"{' and '.join(splits)}), so a test would know what was trained on. Give each group one split."
        )
    lacking = {name: share for name, share in shares.items() if name not in dataset.splits}
    return carve(dataset, lacking, seed) if lacking else dataset


def folded(dataset: Dataset, folds: int, fold: int, val: float, seed: int) -> Dataset:
    """One fold of a cross-validation by group: that fold is the test split, val is carved out of the others.

    The set as `parted` gives it. Its own test split takes no part: it stays unseen until the end. folds: 2 or more,
    fold: 0 to folds - 1. val: the share of what is left. Raises DataError where a class has too few groups.
    """
    if not 0 <= fold < folds or folds < 2:
        raise DataError(f"data.fold is {fold} of {folds} folds; 0 to one less than data.folds was expected.")
    pool = replace(dataset, items=tuple(replace(i, split=UNSPLIT) for i in dataset.items if i.split != "test"))
    names = [f"fold {number}" for number in range(folds)]
    groups: dict[str, list[int]] = defaultdict(list)
    for item in pool.items:
        groups[item.group].append(item.label)
    home = _deal(groups, dict.fromkeys(names, 1 / folds), seed)
    _require_every_class(pool, groups, home, names)
    tested = names[fold]
    items = tuple(replace(i, split="test" if home[i.group] == tested else "train") for i in pool.items)
    return carve(replace(pool, items=items), {"val": val}, seed)


def straddling(dataset: Dataset) -> dict[str, list[str]]:
    """The groups that lie in more than one split, with their splits: what was learned is measured again there."""
    splits: dict[str, set[str]] = defaultdict(set)
    for item in dataset.items:
        splits[item.group].add(item.split)
    return {group: sorted(names) for group, names in sorted(splits.items()) if len(names) > 1}


def strange_splits(dataset: Dataset) -> list[str]:
    """A sentence on each split that a training would leave out: another name, or none where other images have one."""
    counts = Counter(item.split for item in dataset.items)
    if set(counts) == {UNSPLIT}:
        return []
    return [
        f"{count} image(s) {'name no split' if name == UNSPLIT else f'are in a split {name!r}'}; "
        f"{', '.join(SPLITS)} were expected. Name one of them, or take these images out."
        for name, count in sorted(counts.items())
        if name not in SPLITS
    ]


def lone_class(dataset: Dataset) -> list[str]:
    """A sentence where there is nothing to tell apart, with the folders further down that may be the classes."""
    if len(dataset.classes) > 1:
        return []
    inner, folders = _below(dataset)
    said = f" If {', '.join(folders)} are classes, give {inner}." if len(folders) > 1 else ""
    return [
        f"There is one class, {dataset.classes[0]}; two or more were expected. Give the folder in which each class has "
        f"a folder of its own.{said}"
    ]


def _below(dataset: Dataset) -> tuple[Path, list[str]]:
    """Of a set of folders without splits the innermost folder that holds all images, and the folders in it."""
    parents = [PurePath(i.ref).parent for i in dataset.items if i.split == UNSPLIT and dataset.source.file(i.ref)]
    if len(parents) < len(dataset):
        return Path(), []
    inner = os.path.commonpath(parents)
    names = {parent.relative_to(inner).parts[:1] for parent in parents}
    return Path(dataset.source.name) / inner, sorted(name for parts in names for name in parts)


def carve(dataset: Dataset, fractions: Mapping[str, float], seed: int, source: str | None = None) -> Dataset:
    """The set with new splits carved out of `source` by group; what is left of it is called train.

    fractions: share of the source's images per new split, such as {"val": 0.15, "test": 0.2}.
    source: the split to carve from: `train` where there is one, else all items that name no split.
    A group never straddles two splits. Groups are dealt class by class, in an order that hangs only on the seed and
    the group's name, each to the split that lacks the largest part of its share; so every class is shared out as near
    to the fractions as its groups allow. The way of dealing is ours. Raises DataError where a class has too few groups
    to be in every split.
    """
    source = source or ("train" if "train" in dataset.splits else UNSPLIT)
    rest = 1.0 - sum(fractions.values())
    if not fractions or min(fractions.values()) <= 0 or rest <= 0 or "train" in fractions:
        raise DataError(
            f"The fractions are {dict(fractions)}; one share above 0 per new split, together below 1, was expected. "
            f"What is left becomes train. Give for example val = 0.15, test = 0.2."
        )
    taken = [name for name in fractions if name in dataset.splits and name != source]
    if taken:
        raise DataError(f"{dataset.source.name} has a split {', '.join(taken)} already; carve only what it lacks.")
    groups: dict[str, list[int]] = defaultdict(list)
    for item in dataset.split(source).items:
        groups[item.group].append(item.label)
    home = _deal(groups, {"train": rest, **fractions}, seed)
    _require_every_class(dataset, groups, home, ("train", *fractions))
    items = tuple(replace(item, split=home[item.group]) if item.split == source else item for item in dataset.items)
    return replace(dataset, items=items)


def halved(dataset: Dataset, source: str, other: str, seed: int) -> Dataset:
    """The set with half of a split's images, by group and class, in a split of the name `other`.

    A class with one group stays in `source` whole.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for item in dataset.split(source).items:
        groups[item.group].append(item.label)
    home = _deal(groups, {source: 0.5, other: 0.5}, seed)
    items = tuple(replace(item, split=home[item.group]) if item.split == source else item for item in dataset.items)
    return replace(dataset, items=items)


def _deal(groups: Mapping[str, list[int]], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Group to split."""
    strata: dict[int, list[str]] = defaultdict(list)
    for group, labels in groups.items():
        strata[labels[0] if len(set(labels)) == 1 else MIXED].append(group)
    home: dict[str, str] = {}
    for _, members in sorted(strata.items()):
        members.sort(key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).hexdigest())
        target = {split: share * sum(len(groups[group]) for group in members) for split, share in shares.items()}
        given = dict.fromkeys(shares, 0)
        for group in members:
            home[group] = _neediest(target, given, len(groups[group]))
            given[home[group]] += len(groups[group])
    return home


def _neediest(target: Mapping[str, float], given: Mapping[str, int], size: int) -> str:
    """The split that lacks the largest part of its target, among those that `size` images do not overfill by far."""
    fit = [split for split in target if not given[split] or target[split] - given[split] >= size / 2]
    if fit:
        return min(fit, key=lambda split: given[split] / target[split])
    return max(target, key=lambda split: target[split] - given[split])


def _require_every_class(
    dataset: Dataset, groups: Mapping[str, list[int]], home: Mapping[str, str], splits: Sequence[str]
) -> None:
    pairs = {(home[group], label) for group, labels in groups.items() for label in labels}
    for label in sorted({label for _, label in pairs}):
        absent = [split for split in splits if (split, label) not in pairs]
        if absent:
            count = sum(label in labels for labels in groups.values())
            raise DataError(
                f"Class {dataset.classes[label]!r} has {count} group(s) of images in {dataset.source.name}, too few "
                f"for {', '.join(splits)}: none is left for {', '.join(absent)}. Add images or carve fewer splits."
            )
