"""Masks: outlines that lie beside the images of a set. They are ground truth for heat maps, never images of the set.

A file is a mask where its place says so (`x_mask.png` beside `x.png`, a folder or a tree of masks with the names of
the images) and its content does: two values only, or a few, in the image's proportions. The words and bounds are ours.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from kdlight.data.dataset import DataError, Dataset, plain_name, printable, split_word
from kdlight.data.files import decode_file
from kdlight.data.walk import Ledger, Parts, images_of, in_threads, walk

_WORD = r"(?:masks?|segmentations?|seg|gt|ground[ _-]?truth|annotations?|lesion|contours?)"
_ENDING = re.compile(rf"(?P<stem>.+?)[ _.-]{_WORD}(?:[ _-]?\(?\d+\)?)?", re.IGNORECASE)
_BEGINNING = re.compile(r"(?:mask|seg|gt)[ _.-](?P<stem>.+)", re.IGNORECASE)
_FOLDER = r"(?:masks?|segmentations?|gt|ground[ _-]?truth|annotations?|labels?)"
_MASK_FOLDER = re.compile(rf"(?:.*[ _-])?{_FOLDER}(?:[ _-](?:lesion|tschandl|images?))*", re.IGNORECASE)
_MASK_ENDING = re.compile(rf"[ _-]?{_FOLDER}$", re.IGNORECASE)
_IMAGE_ENDING = re.compile(r"(?<=.)[ _-](?:images?|imgs?)$", re.IGNORECASE)
_IMAGE_FOLDER = re.compile(r"images?|imgs?|pictures?|originals?", re.IGNORECASE)
SAMPLED = 64
"""Masks of a set whose content is looked into; all of them only where these are not of one kind."""
LEVELS = 8
"""A mask holds at most so many values (one per kind of structure), or is near to two of them."""
NEAR, SHARE = 24, 0.98
"""Share of the pixels that lie near black or near the brightest value where a JPEG or a resize blurred a mask."""
PROPORTION = 0.02
"""By how much the proportions of a mask and its image may differ: COVID-19 Radiography's masks are smaller."""


@dataclass(frozen=True, slots=True)
class Paired:
    """The files of a set told apart."""

    images: tuple[Parts, ...]
    masks: Mapping[Parts, tuple[Parts, ...]]
    """By image."""
    alone: tuple[Parts, ...]
    """Masks whose image is missing."""
    doubtful: Mapping[Parts, Parts]
    """Images that lie where a mask does, by that mask's image: their content is none of a mask."""

    @property
    def beside(self) -> dict[str, str]:
        """`doubtful` as paths."""
        return {"/".join(parts): "/".join(image) for parts, image in self.doubtful.items()}

    def files(self, root: Path) -> dict[str, tuple[Path, ...]]:
        """The masks by the path of their image."""
        return {"/".join(image): tuple(root.joinpath(*m) for m in masks) for image, masks in self.masks.items()}

    def count(self, ledger: Ledger) -> None:
        """Count the masks as left out, and those without an image."""
        ledger.add("mask", *("/".join(mask) for masks in self.masks.values() for mask in masks))
        ledger.add("mask-without-image", *("/".join(mask) for mask in self.alone))


def paired(root: Path, files: Sequence[Parts]) -> Paired:
    """Tell the masks among the image files of a folder from the images."""
    placed = _by_place(files)
    masks = _by_content(root, placed)
    homes = {_mask_home(parts) for parts in masks}
    named = [p for p in files if p not in placed and (_mask_folder(p) is not None or len(_stems(p)) > 1)]
    lost = [parts for parts in named if _mask_home(parts) in homes]
    alone = tuple(parts for parts in lost if looks_like_mask(root.joinpath(*parts)))
    by_image: dict[Parts, list[Parts]] = defaultdict(list)
    for mask, image in sorted(masks.items()):
        by_image[image].append(mask)
    left = {*masks, *alone}
    images = tuple(parts for parts in files if parts not in left)
    doubtful = {parts: image for parts, image in placed.items() if parts not in left}
    return Paired(images, {image: tuple(files) for image, files in by_image.items()}, alone, doubtful)


def masks_in(folder: str | Path, dataset: Dataset) -> dict[str, tuple[Path, ...]]:
    """The masks in a folder of their own, by the `ref` of the image that each outlines.

    They lie as `<split>/<class>/<name>`, as `<class>/<name>` or in the folders that the images lie in, with the name of
    the image (any ending, and `_mask` or its like after it); a name that only one image has may lie anywhere. Raises
    DataError where the folder holds none for this set.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        absent = "" if folder.exists() else " and does not exist"
        raise DataError(
            f"{folder} is no folder{absent}; a folder of masks with the names of the images was expected. "
            f"Give that folder, or none where the masks lie beside their images."
        )
    items = {os.path.realpath(path) for item in dataset.items if (path := dataset.source.file(item.ref)) is not None}
    by_stem: dict[str, dict[Parts, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for parts in images_of(walk(folder)):
        if os.path.realpath(folder.joinpath(*parts)) not in items:
            for stem in _stems(parts):
                by_stem[stem][_common_home(parts)].append(folder.joinpath(*parts))
    stems = Counter(_stem(Path(item.ref).parts) for item in dataset.items)
    masks = {}
    for item in dataset.items:
        parts, name = Path(item.ref).parts, dataset.classes[item.label]
        homes = by_stem.get(_stem(parts), {})
        known = [_common_home(parts), *(tuple(map(_folded, p)) for p in ((item.split, name), (name,), (item.split,)))]
        paths = next((homes[home] for home in known if home in homes), None)
        if paths is None and stems[_stem(parts)] == 1 == len(homes):
            (paths,) = homes.values()
        if paths:
            masks[item.ref] = tuple(sorted(paths))
    if not masks:
        raise DataError(
            f"{folder} holds no mask with the name of an image of {dataset.source.name}; <split>/<class>/<name> or "
            f"<class>/<name> was expected. Give the masks the names of their images."
        )
    return masks


def read_mask(paths: Sequence[Path], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """What the masks of one image outline, merged: (H, W) at the image's `shape` (rows, columns).

    All False where they are black: nothing is there to be seen. Raises DataError that names a file which cannot be
    read, or is not in the image's proportions.
    """
    merged = np.zeros(shape, dtype=np.bool_)
    for path in paths:
        outlined = _foreground(decode_file(path).pixels)
        if not _same_proportions(outlined.shape, shape):
            raise DataError(
                f"{path} is {outlined.shape[1]} x {outlined.shape[0]} and its image {shape[1]} x {shape[0]}; the same "
                f"proportions were expected. Give the mask of this image."
            )
        picture = PIL.Image.fromarray(outlined.astype(np.uint8))
        merged |= np.asarray(picture.resize(shape[::-1], PIL.Image.Resampling.NEAREST)) > 0
    return merged


def looks_like_mask(path: Path, image: Path | None = None) -> bool:
    """Whether a file has a mask's content, in the proportions of its image; False where it cannot be read."""
    try:
        pixels = decode_file(path).pixels
        shape = pixels.shape[:2] if image is None else decode_file(image).shape
    except DataError:
        return False
    if not _same_proportions(pixels.shape[:2], shape):
        return False
    gray = _brightness(pixels)
    top = float(gray.max())
    near_two = top > 2 * NEAR and float(np.mean((gray <= NEAR) | (gray >= top - NEAR))) >= SHARE
    return near_two or _levels(pixels) <= LEVELS


def _by_place(files: Sequence[Parts]) -> dict[Parts, Parts]:
    """Files that may be masks by where they lie, with their images."""
    beside = {(parts[:-1], _stem(parts)): parts for parts in files}
    images: dict[tuple[Parts, str], Parts] = {}
    homes: dict[Parts, list[Parts]] = defaultdict(list)
    stems: dict[str, list[Parts]] = defaultdict(list)
    for parts in files:
        if _mask_folder(parts) is None:
            (home,) = _homes(parts)
            images.setdefault((home, _stem(parts)), parts)
            homes[home].append(parts)
            stems[_stem(parts)].append(parts)
    placed: dict[Parts, Parts] = {}
    for parts in files:
        apart, names = _mask_folder(parts) is not None, _stems(parts)
        candidates = [beside.get((parts[:-1], name)) for name in names[1:]]
        candidates += [images.get((home, name)) for home in _homes(parts) for name in names[0 if apart else 1 :]]
        if apart:  # at last, a name that only one image has, or one image with a folder of masks
            alone = [stems[name] for name in names] + [homes[home] for home in _homes(parts)]
            candidates += [group[0] for group in alone if len(group) == 1]
        image = next(filter(None, candidates), parts)
        if image != parts:
            placed[parts] = image
    return {mask: image for mask, image in placed.items() if image not in placed}


def _by_content(root: Path, placed: Mapping[Parts, Parts]) -> dict[Parts, Parts]:
    """Those of them that are masks; a sample is looked into, and all where it is mixed."""

    def one(parts: Parts) -> bool:
        return looks_like_mask(root.joinpath(*parts), root.joinpath(*placed[parts]))

    order = sorted(placed)
    some = order[:: max(1, -(-len(order) // SAMPLED))]
    kinds = set(in_threads(one, some))
    if len(kinds) == 1:
        return dict(placed) if True in kinds else {}
    return {parts: placed[parts] for parts, is_mask in zip(order, in_threads(one, order), strict=True) if is_mask}


def _common_home(parts: Parts) -> Parts:
    """The folders of a path without those that say image or mask, with splits in one word."""
    named = (part for part in parts[:-1] if not _IMAGE_FOLDER.fullmatch(part) and not _MASK_FOLDER.fullmatch(part))
    return tuple(_folded(part) for part in named)


def _folded(folder: str) -> str:
    return split_word(folder) or plain_name(printable(folder)).casefold()


def _homes(parts: Parts) -> list[Parts]:
    """The folders of a path without what says image; of a mask without its folder, or with `train` of `train_masks`."""
    cut = _mask_folder(parts)
    named = [_IMAGE_ENDING.sub("", part) for part in parts[:-1]]
    whole = tuple(part for n, part in enumerate(named) if n != cut and not _IMAGE_FOLDER.fullmatch(part))
    if cut is None or not (after := _MASK_ENDING.sub("", parts[cut])):
        return [whole]
    named[cut] = after
    return [tuple(part for part in named if not _IMAGE_FOLDER.fullmatch(part)), whole]


def _mask_folder(parts: Parts) -> int | None:
    """Which folder of a path says mask; None for none."""
    return next((n for n, part in enumerate(parts[:-1]) if _MASK_FOLDER.fullmatch(part)), None)


def _mask_home(parts: Parts) -> Parts | None:
    """The folder of masks that a file lies in; None for one beside its image."""
    cut = _mask_folder(parts)
    return None if cut is None else parts[: cut + 1]


def _stem(parts: Parts) -> str:
    return plain_name(printable(Path(parts[-1]).stem)).casefold()


def _stems(parts: Parts) -> list[str]:
    """A file's name without its ending, then without the word for a mask."""
    stem = _stem(parts)
    match = _ENDING.fullmatch(stem) or _BEGINNING.fullmatch(stem)
    return [stem, match["stem"].strip()] if match else [stem]


def _same_proportions(one: Sequence[int], other: Sequence[int]) -> bool:
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= PROPORTION


def _levels(pixels: NDArray[np.generic]) -> int:
    """How many values, or colors, there are."""
    return len(np.unique(pixels.reshape(-1, 3), axis=0)) if pixels.ndim == 3 else len(np.unique(pixels))


def _foreground(pixels: NDArray[np.generic]) -> NDArray[np.bool_]:
    """What is not black; of a blurred mask, what is brighter than half of its brightest value."""
    gray = _brightness(pixels)
    return np.asarray(gray > 0 if _levels(pixels) <= LEVELS else gray > float(gray.max()) / 2)


def _brightness(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    return np.asarray(pixels.max(axis=2) if pixels.ndim == 3 else pixels, dtype=np.float32)
