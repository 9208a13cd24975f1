"""Augmentation of training batches: named policies, as torchvision.transforms.v2 transforms.

The transforms that torchvision brings draw one set of parameters per call, so a batch would be turned as one piece, and
calling them image by image costs 30 ms for 32 images of 128 px on one core. `RandomView` draws per image and moves the
whole batch at once: one affine resampling, then one 3 x 3 color matrix per image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2  # type: ignore[import-untyped, unused-ignore]

from kdlight.contracts.options import Option, Settings
from kdlight.preprocessing.corruptions import Corruptions

GRAY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in the luma (ITU-R BT.601), as torchvision has them."""


class Policy(Settings):
    """How far a picture may be changed and still be a picture of its kind. The values are ours."""

    summary: Annotated[str, Option("What it does, for people.")] = ""
    rotate: Annotated[float, Option("Largest turn to either side.", ge=0, le=180, unit="degrees")] = 0.0
    shift: Annotated[float, Option("Largest move in each direction, as a share of the side.", ge=0, le=1)] = 0.0
    zoom: Annotated[float, Option("Largest change of scale: 0.1 is 1/1.1 to 1.1.", ge=0, le=1)] = 0.0
    stretch: Annotated[float, Option("Largest change of the ratio of the sides.", ge=0, le=1)] = 0.0
    mirror: Annotated[bool, Option("Left and right may be swapped.")] = False
    upside_down: Annotated[bool, Option("Top and bottom may be swapped.")] = False
    quarter_turns: Annotated[bool, Option("May be turned by 90, 180 and 270 degrees.")] = False
    brightness: Annotated[float, Option("Largest change of brightness, as a share.", ge=0, le=1)] = 0.0
    contrast: Annotated[float, Option("Largest change of contrast, as a share.", ge=0, le=1)] = 0.0
    saturation: Annotated[float, Option("Largest change of saturation, as a share.", ge=0, le=1)] = 0.0
    tint: Annotated[
        float, Option("Largest gain of each color channel: stain, white balance. 0 for gray images.", ge=0, le=1)
    ] = 0.0
    corrupt: Annotated[
        float,
        Option("Share of the views with noise, blur, JPEG traces, fewer pixels or another gamma.", ge=0, le=1),
    ] = 0.0
    outside: Annotated[
        Literal["zeros", "reflection"], Option("What comes in from beyond the border: black or a reflection.")
    ] = "zeros"

    @property
    def geometric(self) -> bool:
        free = self.mirror or self.upside_down or self.quarter_turns
        return free or any((self.rotate, self.shift, self.zoom, self.stretch))

    @property
    def chromatic(self) -> bool:
        return any((self.brightness, self.contrast, self.saturation, self.tint))


_MILD = Policy(corrupt=0.5, rotate=7, shift=0.05, zoom=0.1, brightness=0.15, contrast=0.15)
_FULL = Policy(corrupt=0.5, rotate=12, shift=0.08, zoom=0.2, stretch=0.08, brightness=0.25, contrast=0.25)
_ANY_WAY_UP = _FULL.changed(
    rotate=45, mirror=True, upside_down=True, quarter_turns=True, saturation=0.2, outside="reflection"
)

AUGMENTATIONS: dict[str, Policy] = {
    "none": Policy(summary="nothing is changed"),
    "light": _MILD.changed(summary="a little turned, moved and lit; never flipped", rotate=5, zoom=0.05),
    "standard": _MILD.changed(summary="turned, moved, scaled and lit; never flipped, so safe for any anatomy"),
    "strong": _FULL.changed(summary="as standard, further; never flipped", rotate=20, saturation=0.2),
    "xray": _MILD.changed(summary="never flipped: the heart's side and the marker matter"),
    "ct": _MILD.changed(summary="never flipped: the side of organs matters"),
    "mri": _FULL.changed(summary="mirrored: head and joints exist on both sides; never upside down", mirror=True),
    "dermatoscopy": _ANY_WAY_UP.changed(summary="any way up; color varies with the lamp", tint=0.06),
    "histopathology": _ANY_WAY_UP.changed(summary="any way up; stain varies", tint=0.1),
    "ultrasound": _FULL.changed(summary="mirrored: a probe may be held either way; never upside down", mirror=True),
    "oct": _MILD.changed(summary="mirrored: the other eye; layers keep their order", mirror=True),
    "fundus": _FULL.changed(summary="mirrored: the other eye", mirror=True, saturation=0.15, tint=0.05),
    "endoscopy": _ANY_WAY_UP.changed(
        summary="any way up: the scope turns freely; color varies with the lamp", tint=0.05
    ),
    "blood": _ANY_WAY_UP.changed(summary="any way up; stain varies", tint=0.08),
    "surface": _ANY_WAY_UP.changed(summary="any way up; light varies", tint=0.04),
}
"""By name; the names of modalities are policies for them: flips only where anatomy allows."""


def augmentation(name: str, size: int) -> RandomView:
    """The transform of a policy for inputs of `size` px. Raises ValueError that names the known policies."""
    if name not in AUGMENTATIONS:
        raise ValueError(f"Unknown augmentation {name!r}; one of {', '.join(AUGMENTATIONS)} was expected.")
    return RandomView(AUGMENTATIONS[name], size)


class RandomView(v2.Transform):  # type: ignore[misc, unused-ignore]
    """Each image of a batch seen from its own angle, in its own light."""

    def __init__(self, policy: Policy, size: int) -> None:
        super().__init__()
        self.policy, self.size = policy, size
        center = (torch.arange(size) * 2 + 1) / size - 1  # pixel centers in [-1, 1]
        x, y = center.repeat(size), center.repeat_interleave(size)
        self.plane = torch.stack([x, y, torch.ones_like(x)])  # (3, S * S)

    def forward(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """pixels uint8 (B, 3, S, S) to the same; `generator` (else torch's own) decides what is drawn."""
        if pixels.dtype != torch.uint8 or pixels.shape[1:] != (3, self.size, self.size):
            raise ValueError(
                f"A batch is {pixels.dtype} {tuple(pixels.shape)}; uint8 (B, 3, {self.size}, {self.size}) was expected."
            )
        return self.see(pixels, self.draw(len(pixels), generator))

    def draw(self, count: int, generator: torch.Generator | None = None) -> Draws:
        """What becomes of each of `count` images: drawn for a whole set it can be replayed in any order of batches."""
        return Draws(
            geometry(self.policy, count, generator),
            colors(self.policy, count, generator),
            Corruptions.draw(self.policy.corrupt, count, generator),
        )

    def see(self, pixels: Tensor, draws: Draws) -> Tensor:
        """pixels uint8 (B, 3, S, S) under the draws of those B images, to the same shape and type."""
        seen = pixels
        if self.policy.geometric or self.policy.chromatic:
            seen = pixels.contiguous().float()
            if self.policy.geometric:
                seen = self.move(seen, draws.matrix)
            if self.policy.chromatic:
                seen = light(seen, draws.colors)
            seen = seen.clamp_(0, 255).round_().byte()
        return draws.corruptions.apply(seen) if self.policy.corrupt else seen

    def move(self, pixels: Tensor, matrix: Tensor) -> Tensor:
        """Resample float (B, 3, S, S) by matrices (B, 2, 3) from output to input places, both in [-1, 1]."""
        grid = (matrix @ self.plane).view(-1, 2, self.size, self.size).permute(0, 2, 3, 1)  # (B, S, S, 2)
        return F.grid_sample(pixels, grid, mode="bilinear", padding_mode=self.policy.outside, align_corners=False)


def _between(limit: float, count: int, generator: torch.Generator | None) -> Tensor:
    """(B,) uniform in [-limit, limit]."""
    return (torch.rand(count, generator=generator) * 2 - 1) * limit


def geometry(policy: Policy, count: int, generator: torch.Generator | None) -> Tensor:
    """Affine matrices (B, 2, 3) from output to input places."""
    angle = torch.deg2rad(_between(policy.rotate, count, generator))
    if policy.quarter_turns:
        angle = angle + torch.randint(4, (count,), generator=generator) * (math.pi / 2)
    scale = torch.exp(_between(math.log1p(policy.zoom), count, generator))
    ratio = torch.exp(_between(math.log1p(policy.stretch) / 2, count, generator))
    flips = torch.randint(2, (2, count), generator=generator) * 2.0 - 1
    across = scale * ratio * (flips[0] if policy.mirror else 1)
    down = scale / ratio * (flips[1] if policy.upside_down else 1)
    cos, sin = torch.cos(angle), torch.sin(angle)
    shift = torch.stack([_between(2 * policy.shift, count, generator) for _ in range(2)], dim=1)
    turn = torch.stack([cos * across, -sin * down, sin * across, cos * down], dim=1).view(-1, 2, 2)
    return torch.cat([turn, shift[:, :, None]], dim=2)


@dataclass(frozen=True, slots=True, eq=False)
class Colors:
    """Factors per image, 1 where nothing changes: brightness, contrast, saturation (B,), tint (B, 3)."""

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    tint: Tensor


def colors(policy: Policy, count: int, generator: torch.Generator | None) -> Colors:
    """Draw factors of a policy for each of `count` images."""
    limits = policy.brightness, policy.contrast, policy.saturation
    brightness, contrast, saturation = (1 + _between(limit, count, generator) for limit in limits)
    return Colors(brightness, contrast, saturation, 1 + _between(policy.tint, count * 3, generator).view(count, 3))


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """One view of each of N images: affine matrices (N, 2, 3) from output to input, factors of color, corruptions."""

    matrix: Tensor
    colors: Colors
    corruptions: Corruptions

    def __getitem__(self, index: Tensor) -> Draws:
        c = self.colors
        colors = Colors(*(f[index] for f in (c.brightness, c.contrast, c.saturation, c.tint)))
        return Draws(self.matrix[index], colors, self.corruptions[index])


def light(pixels: Tensor, factors: Colors) -> Tensor:
    """Change float pixels (B, 3, H, W): brightness, contrast about mean gray, saturation, tint, in one product.

    The three are those of torchvision's ColorJitter, without its clamping between them.
    """
    b, c, s = (f[:, None, None] for f in (factors.brightness, factors.contrast, factors.saturation))
    gray = pixels.new_tensor(GRAY)
    mix = s * torch.eye(3) + (1 - s) * gray.expand(3, 3)  # (B, 3, 3)
    matrix = factors.tint[:, :, None] * mix * (b * c)
    mean = pixels.mean(dim=(2, 3)) @ gray * factors.brightness  # (B,)
    bias = factors.tint * ((1 - factors.contrast) * mean)[:, None]
    return torch.baddbmm(bias[:, :, None], matrix, pixels.flatten(2)).view_as(pixels)
