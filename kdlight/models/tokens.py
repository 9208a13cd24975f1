"""Tokens (B, N, C) and channels-last maps (B, h, w, C) to maps (B, C, h, w), and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """How a network holds its features."""

    kind: str
    """maps (B, C, h, w), channels_last (B, h, w, C) or tokens (B, prefix + h * w, C)."""
    grid: tuple[int, int] = (0, 0)
    """h and w of tokens."""
    prefix: int = 0
    """Class, distillation and register tokens in front."""


def layout_of(net: Any, features: Any, sides: tuple[int, int]) -> Layout:
    """How timm network `net` holds `features`, made from an input of `sides` (H, W) in pixels.

    Raises ValueError if there is no map in them: a list, pooled vectors, or tokens that fill no grid of that shape.
    """
    rank = features.dim() if isinstance(features, Tensor) else 0
    if rank == 4:
        return Layout("channels_last" if _channels_last(net, features) else "maps")
    if rank == 3:
        count, prefix = features.shape[1], int(getattr(net, "num_prefix_tokens", 0))
        for before in dict.fromkeys((prefix, 0)):
            grid = grid_of(count - before, sides)
            if grid is not None:
                return Layout("tokens", grid, before)
    shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
    raise ValueError(
        f"{type(net).__name__} of timm gives features {shape}, which form no map of a {sides[0]} x {sides[1]} input; "
        f"(B, C, h, w), (B, h, w, C) or (B, tokens, C) was expected. Choose another network."
    )


def grid_of(count: int, sides: tuple[int, int]) -> tuple[int, int] | None:
    """h, w with h * w = count, of the shape of an input (H, W) cut into square patches; None if there is none.

    A patch side p gives h within [H / p, H / p + 1) and w likewise, so that |h W - w H| < max(H, W).
    """
    height, width = sides
    fits = [(h, count // h) for h in range(1, count + 1) if count % h == 0]
    best = min(fits, key=lambda g: abs(g[0] * width - g[1] * height), default=None)
    return best if best and abs(best[0] * width - best[1] * height) < max(sides) else None


def fold(features: Tensor, layout: Layout) -> Tensor:
    """To maps (B, C, h, w)."""
    if layout.kind == "tokens":
        tokens = features[:, layout.prefix :].transpose(1, 2)  # (B, C, h w)
        return tokens.reshape(tokens.shape[0], tokens.shape[1], *layout.grid)
    return features.permute(0, 3, 1, 2) if layout.kind == "channels_last" else features


def unfold(maps: Tensor, features: Tensor, layout: Layout) -> Tensor:
    """Maps (B, C, h, w) back to the layout they came in; tokens in front are those of `features`."""
    if layout.kind == "tokens":
        tokens = maps.flatten(2).transpose(1, 2)  # (B, h w, C)
        return torch.cat([features[:, : layout.prefix], tokens], dim=1) if layout.prefix else tokens
    return maps.permute(0, 2, 3, 1) if layout.kind == "channels_last" else maps


def declared_format(net: Any) -> str:
    """NCHW or NHWC as a timm network declares its maps; empty where it does not."""
    declared = getattr(net, "output_fmt", "")
    return str(getattr(declared, "value", declared)).upper()


def _channels_last(net: Any, features: Tensor) -> bool:
    if declared := declared_format(net):
        return declared == "NHWC"
    channels = getattr(net, "num_features", features.shape[1])
    return features.shape[1] != channels and features.shape[3] == channels
