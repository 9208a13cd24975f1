"""What another scanner, a resampling or a JPEG does to a picture: to train with, and to measure what a model bears.

The kinds follow those that MedMNIST-C (Di Salvo et al., arXiv 2406.17536) shares among its modalities: noise, blur,
JPEG traces, coarser sampling, another gamma. The strengths are ours: noise and blur double from severity to severity,
and severity 2 is noise of 8 gray levels, or a blur of one pixel where the picture has 128.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as vision  # type: ignore[import-untyped, unused-ignore]

SEVERITIES = (1.0, 2.0, 3.0)
"""At which a model is measured. Training draws from all between 0 and the last."""


def _doubling(severity: float) -> float:
    """1 at severity 2, and twice as much a severity further."""
    return math.exp2(severity - 2)


def _is_gray(image: Tensor) -> bool:
    return bool((image[0] == image[1]).all() and (image[0] == image[2]).all())


def noise(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise of 8 gray levels at severity 2; the same in all channels of a gray picture."""
    drawn = torch.randn((1 if _is_gray(image) else 3, *image.shape[1:]), generator=generator)
    return image.float() + drawn * (8 * _doubling(severity))


def blur(image: Tensor, severity: float, _: torch.Generator) -> Tensor:
    """Gaussian blur; its standard deviation is 1/128 of the side at severity 2."""
    sigma = image.shape[-1] / 128 * _doubling(severity)
    blurred: Tensor = vision.gaussian_blur(image.float(), [2 * round(3 * sigma + 0.5) + 1] * 2, [sigma, sigma])
    return blurred


def jpeg(image: Tensor, severity: float, _: torch.Generator) -> Tensor:
    """Written and read as a JPEG of quality 70, 40 and 15 at the three severities."""
    quality = round(float(np.interp(severity, (0, *SEVERITIES), (95, 70, 40, 15))))
    array, file = (image[0] if _is_gray(image) else image.permute(1, 2, 0)).contiguous().numpy(), io.BytesIO()
    PIL.Image.fromarray(array).save(file, "JPEG", quality=quality)
    compressed: Tensor = torch.from_numpy(np.array(PIL.Image.open(file).convert("RGB"))).permute(2, 0, 1)
    return compressed


def resample(image: Tensor, severity: float, _: torch.Generator) -> Tensor:
    """Made 1.5, 2 and 3 times smaller at the three severities, and as large again."""
    side = max(8, round(image.shape[-1] / (1 + _doubling(severity))))
    small = F.interpolate(image[None].float(), size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    large: Tensor = F.interpolate(small, size=image.shape[-2:], mode="bilinear", align_corners=False)[0]
    return large


def gamma(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Brighter or darker by a power curve: an exponent of 1.5 or 1 / 1.5 at severity 2."""
    exponent = math.pow(1.5, _doubling(severity))
    return 255 * (image.float() / 255) ** (exponent if torch.rand(1, generator=generator) < 0.5 else 1 / exponent)


CORRUPTIONS: dict[str, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    "noise": noise,
    "blur": blur,
    "jpeg": jpeg,
    "resample": resample,
    "gamma": gamma,
}
"""Functions of (uint8 image (3, S, S), severity, generator) to the picture in 0 to 255, not yet rounded or clamped."""
KINDS = tuple(CORRUPTIONS)


@dataclass(frozen=True, slots=True, eq=False)
class Corruptions:
    """What becomes of each of N images: kind (N,), an index of KINDS or -1 for none, severity (N,) and seed (N,)."""

    kind: Tensor
    severity: Tensor
    seed: Tensor

    @classmethod
    def draw(cls, share: float, count: int, generator: torch.Generator | None) -> Corruptions:
        """`share` of them by one kind each, at a severity from 0 to the highest that is measured."""
        kind = torch.randint(len(KINDS), (count,), generator=generator)
        kind[torch.rand(count, generator=generator) >= share] = -1
        severity = torch.rand(count, generator=generator) * SEVERITIES[-1]
        return cls(kind, severity, torch.randint(2**31, (count,), generator=generator))

    def __getitem__(self, index: Tensor) -> Corruptions:
        return Corruptions(self.kind[index], self.severity[index], self.seed[index])

    def apply(self, pixels: Tensor) -> Tensor:
        """uint8 (B, 3, S, S) to the same."""
        seen = pixels.clone()
        for row in torch.nonzero(self.kind >= 0).flatten().tolist():
            kind = KINDS[int(self.kind[row])]
            seen[row] = corrupt(pixels[row], kind, float(self.severity[row]), int(self.seed[row]))
        return seen


def corrupt(image: Tensor, kind: str, severity: float, seed: int) -> Tensor:
    """One image uint8 (3, S, S) as `kind` of CORRUPTIONS leaves it; the same for the same seed."""
    changed = CORRUPTIONS[kind](image, severity, torch.Generator().manual_seed(seed))
    return changed.clamp(0, 255).round().byte()
