"""Weight selection: first weights of a small network taken from a larger one of the same family.

Xu et al., Initializing Models with Larger Ones, ICLR 2024, https://arxiv.org/abs/2311.18823: in every dimension of a
tensor keep Ws of Wt elements, evenly spaced; the first blocks of each stage; the classifier is left out. The paper
gives stride Wt / Ws where it divides and evenly spaced rounded positions elsewhere. Selecting every dimension of every
tensor by the same rule keeps channels consistent: the channel that a layer's output keeps is the one the next reads.
Offsets, for two students that share as little as they can, are our reading of "complementary".

Families: MobileNetV2 and the kdlight students, and timm's ViT and ConvNeXt. What a family needs besides is ours:
- A fused qkv tensor is selected in its query, key and value parts apart, so that the three stay aligned. The heads of
  timm's ViT-S and ViT-T both have 64 channels; selected uniformly, one student head mixes every second channel of two
  teacher heads. A consecutive selection keeps whole heads.
- Position embeddings of another length are resized as pictures are (bicubic); class and other prefix tokens stay.
- A linear layer and a 1 x 1 convolution hold the same numbers: one is selected into the other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.contracts.recipe import Layers, Selection

BLOCK = re.compile(r"((?:^|.*\.)(?:stages\.\d+(?:\.blocks)?|blocks(?:\.\d+)?))\.(\d+)\.")
"""A tensor's name up to its stage, and its block's number there."""


def positions(large: int, small: int, offset: int = 0, how: Selection = "uniform", seed: int = 0) -> Tensor:
    """Indices (small,) of the kept elements of a dimension of `large`, in rising order.

    offset: 0 or above; 1 is the complement of 0, and where that is too small it is filled up from what 0 keeps. Random
    positions hang on `seed` and `large` alone, so a dimension is selected alike in every tensor. Raises ValueError if
    small > large.
    """
    if not 0 < small <= large:
        raise ValueError(f"Cannot select {small} of {large} elements; the source must be the larger network.")
    if how == "uniform":
        return _uniform(large, small, offset)
    turn = torch.arange(offset * small, (offset + 1) * small) % large  # past the end it begins anew
    if how == "consecutive":
        return turn.sort().values
    drawn = torch.randperm(large, generator=torch.Generator().manual_seed(1_000_003 * seed + large))
    return drawn[turn].sort().values


def select(tensor: Tensor, shape: torch.Size, offset: int = 0, how: Selection = "uniform", seed: int = 0) -> Tensor:
    """A tensor of `shape` selected from a larger one of the same rank."""
    for dim, small in enumerate(shape):
        if tensor.shape[dim] != small:
            chosen = positions(tensor.shape[dim], small, offset, how, seed)
            tensor = tensor.index_select(dim, chosen.to(tensor.device))
    return tensor


def select_weights(
    source: nn.Module,
    target: nn.Module,
    offset: int = 0,
    *,
    how: Selection = "uniform",
    layers: Layers = "first",
    seed: int = 0,
) -> list[str]:
    """Fill `target` from the larger `source` of its family; tensors are paired by name, the classifier is left out.

    seed is that of a random selection, offset as in `positions`. Returns the names that were filled; tensors of
    `target` without a namesake of the same kind keep their values. Raises ValueError if fewer than half could be
    paired, or a namesake is smaller.
    """
    large, small = source.state_dict(), _once(target.state_dict(keep_vars=True))
    depths, small_depths = _depths(large), _depths(small)
    head = classifier_of(target)
    filled = []
    with torch.no_grad():
        for name, tensor in small.items():
            origin = large.get(name if layers == "first" else _evenly(name, depths, small_depths))
            fitting = None if origin is None or name.startswith(head) else _as_kind(origin, tensor, name)
            if fitting is None:
                continue
            parts = 3 if ".qkv." in f".{name}" else 1
            tensor.copy_(_select_parts(fitting, tensor.shape, parts, offset, how, seed))
            filled.append(name)
    if len(filled) < len(small) // 2:
        raise ValueError(
            f"Only {len(filled)} of the student's {len(small)} tensors are in the teacher as well; both must be of one "
            f"family. Take another student, or other starting weights (student.init)."
        )
    return filled


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, batches: list[Tensor]) -> None:
    """Set batch-norm statistics to their averages over batches (B, 3, H, W): selected channels shift every mean.

    A network without batch norm is left as it is.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    was_training = model.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
    model.train()
    for batch in batches:
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(was_training)


def _uniform(large: int, small: int, offset: int) -> Tensor:
    """Evenly spaced; each offset is taken from what the one before it has left, then from what that one kept."""
    if large % small == 0:
        stride = large // small
        return torch.arange(0, large, stride) + offset % stride
    everything = torch.arange(large)
    chosen = _spread(everything, small)
    for _ in range(offset):
        left = everything[~torch.isin(everything, chosen)]
        if len(left) >= small:
            chosen = _spread(left, small)
        else:
            chosen = torch.cat([left, _spread(chosen, small - len(left))]).sort().values
    return chosen


def _spread(pool: Tensor, count: int) -> Tensor:
    """`count` elements of a pool (P,), evenly spaced, its first and last among them."""
    return pool[torch.linspace(0, len(pool) - 1, count).round().long()]


def _once(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict whose shared tensors stand under the first of their names: a block known by two is selected once."""
    first: dict[int, str] = {}
    for name, tensor in state.items():
        first.setdefault(id(tensor), name)
    return {name: state[name] for name in first.values()}


def _depths(names: Iterable[str]) -> dict[str, int]:
    """Blocks of each stage, by the stage's name."""
    depths: dict[str, int] = {}
    for match in filter(None, map(BLOCK.match, names)):
        depths[match[1]] = max(depths.get(match[1], 0), int(match[2]) + 1)
    return depths


def _evenly(name: str, depths: dict[str, int], small: dict[str, int]) -> str:
    """The namesake in the larger network where a stage's blocks are taken evenly spaced."""
    match = BLOCK.match(name)
    if match is None or match[1] not in depths:
        return name
    number = int(positions(depths[match[1]], small[match[1]])[int(match[2])])
    return f"{match[1]}.{number}.{name[match.end() :]}"


def classifier_of(model: nn.Module) -> tuple[str, ...]:
    """Beginnings of the names of the tensors that make the logits."""
    net: Any = getattr(model, "net", model)
    head = net.get_classifier() if hasattr(net, "get_classifier") else getattr(model, "classifier", None)
    heads = head if isinstance(head, tuple) else (head,)
    return tuple(f"{name}." for name, module in model.named_modules() if name and any(module is h for h in heads))


def _as_kind(origin: Tensor, tensor: Tensor, name: str) -> Tensor | None:
    """`origin` as a tensor of the same rank that `select` can take from, None if it is of another kind."""
    if tensor.dim() == 0:
        return None
    if name.endswith("pos_embed") and origin.dim() == tensor.dim() == 3 and origin.shape[1] != tensor.shape[1]:
        return resize_positions(origin, tensor.shape[1])
    if {origin.dim(), tensor.dim()} == {2, 4}:
        one_by_one = origin.shape[2:] == (1, 1) or tensor.shape[2:] == (1, 1)
        return origin.reshape(*origin.shape[:2], *tensor.shape[2:]) if one_by_one else None
    return origin if origin.dim() == tensor.dim() else None


def resize_positions(embedding: Tensor, tokens: int) -> Tensor:
    """Position embeddings (1, N, C) to (1, tokens, C): the square grid bicubically, prefix tokens as they are.

    Raises ValueError if the two do not have as many prefix tokens: N less the largest square in it.
    """
    side, wanted = math.isqrt(embedding.shape[1]), math.isqrt(tokens)
    prefix = embedding.shape[1] - side**2
    if prefix != tokens - wanted**2:
        raise ValueError(
            f"{embedding.shape[1]} positions cannot be resized to {tokens}: {prefix} and {tokens - wanted**2} are not "
            f"part of a square grid, and as many were expected. Choose networks with the same prefix tokens."
        )
    grid = embedding[:, prefix:].transpose(1, 2).reshape(len(embedding), -1, side, side)  # (1, C, side, side)
    resized = F.interpolate(grid, (wanted, wanted), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([embedding[:, :prefix], resized.flatten(2).transpose(1, 2)], dim=1)


def _select_parts(tensor: Tensor, shape: torch.Size, parts: int, offset: int, how: Selection, seed: int) -> Tensor:
    """`select`, with the first dimension in equal parts that are selected alike."""
    part = torch.Size([shape[0] // parts, *shape[1:]])
    return torch.cat([select(piece, part, offset, how, seed) for piece in tensor.chunk(parts)])
