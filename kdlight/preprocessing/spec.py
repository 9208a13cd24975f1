"""What a model wants to see. One InputSpec serves training, evaluation, inference, heat maps and export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from kdlight.contracts.image import Image
from kdlight.contracts.modality import WINDOWS
from kdlight.preprocessing.stages import apply_stages, check_stages

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
FITS = ("stretch", "pad")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The one description of a model's input; it is stored in the bundle's card under `input`."""

    size: int = 128
    """Side of the square input in pixels."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Subtracted per channel, in units of [0, 1]."""
    std: tuple[float, ...] = IMAGENET_STD
    """Divided by per channel, in units of [0, 1]."""
    window: str | None = None
    """Preset of WINDOWS used for pixels in calibrated units (HU); others keep the file's window."""
    fit: str = "stretch"
    """stretch: both sides scaled to `size`; pad: the aspect ratio kept, the rest black."""
    stages: tuple[str, ...] = ()
    """Names in `kdlight.preprocessing.stages.STAGES`, applied in this order after resizing; most models have none."""

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or not 32 <= self.size <= 1024:
            raise ValueError(
                f"Input size is {self.size!r}; a whole number of 32 to 1024 px was expected. Set data.size to one."
            )
        if self.fit not in FITS:
            raise ValueError(f"Unknown fit {self.fit!r}; one of {', '.join(FITS)} was expected.")
        if self.window is not None and self.window not in WINDOWS:
            raise ValueError(f"Unknown window {self.window!r}; one of {', '.join(WINDOWS)} was expected.")
        within = all(-10 < value < 10 for value in self.mean) and all(0.001 <= value < 10 for value in self.std)
        if len(self.mean) != 3 or len(self.std) != 3 or not within:
            raise ValueError(
                f"Mean is {self.mean} and std {self.std}; three numbers each below 10, std above 0, were expected."
            )
        check_stages(self.stages)

    @property
    def channels(self) -> int:
        return len(self.mean)

    def render(self, image: Image) -> np.ndarray:
        """The frame as the model sees it before it is standardized: uint8 (size, size, 3)."""
        seen = self._seen(image)
        return seen if seen.ndim == 3 else np.asarray(PIL.Image.fromarray(seen).convert("RGB"))

    def picture(self, image: Image) -> np.ndarray:
        """The frame in the model's window, before it is resized: uint8 (H, W), or (H, W, 3) in color."""
        return image.display(WINDOWS[self.window] if self.window and image.units == "HU" else None)

    def _seen(self, image: Image) -> np.ndarray:
        """`render`, but a gray picture without stages stays gray, (size, size): a third of the work, the same bytes."""
        picture = PIL.Image.fromarray(self.picture(image))
        if self.stages:
            picture = picture.convert("RGB")
        width, height = self._inner(image.shape)
        seen = apply_stages(np.asarray(picture.resize((width, height), PIL.Image.Resampling.BILINEAR)), self.stages)
        if (width, height) == (self.size, self.size):
            return seen
        canvas = np.zeros((self.size, self.size, *seen.shape[2:]), dtype=np.uint8)
        left, top = (self.size - width) // 2, (self.size - height) // 2
        canvas[top : top + height, left : left + width] = seen
        return canvas

    def steps(self, image: Image) -> Iterator[tuple[str, np.ndarray]]:
        """(stage, the frame after it) of every stage, the resizing first, as "resize": uint8 (size, size, 3)."""
        for count in range(len(self.stages) + 1):
            name = self.stages[count - 1] if count else "resize"
            yield name, replace(self, stages=self.stages[:count]).render(image)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 or [0, 255] pixels (B, size, size, 3) to float32 (B, 3, size, size), standardized."""
        import torch

        mean, std = (pixels.new_tensor(v, dtype=torch.float32)[:, None, None] * 255 for v in (self.mean, self.std))
        x = pixels.permute(0, 3, 1, 2).contiguous().to(torch.float32, copy=True)
        return x.sub_(mean).div_(std)

    def prepare(self, image: Image) -> Tensor:
        """One image to the model's input: float32 (3, size, size); bit by bit what `normalise` makes of `render`."""
        import torch

        seen = self._seen(image).astype(np.float32)
        x = np.empty((3, self.size, self.size), dtype=np.float32)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            plane = seen if seen.ndim == 2 else seen[..., channel]
            np.subtract(plane, np.float32(mean) * np.float32(255), out=x[channel])
            x[channel] /= np.float32(std) * np.float32(255)
        return torch.from_numpy(x)

    def to_image_plane(self, heat: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """A map (h, w) in [0, 1] over the model's input, brought back to the image's rows and columns."""
        square = PIL.Image.fromarray(heat.astype(np.float32)).resize(
            (self.size, self.size), PIL.Image.Resampling.BILINEAR
        )
        width, height = self._inner(shape)
        left, top = (self.size - width) // 2, (self.size - height) // 2
        inner = square.crop((left, top, left + width, top + height))
        resized = inner.resize((shape[1], shape[0]), PIL.Image.Resampling.BILINEAR)
        return np.clip(np.asarray(resized, dtype=np.float32), 0.0, 1.0)

    def to_json(self) -> dict[str, Any]:
        """The fields, and for the reader of a card the number of channels and the steps in words.

        Without stages the key is left out, so that cards, caches and digests are what they were before there were any.
        """
        between = "".join(f"{name}, " for name in self.stages)
        steps = (
            f"display window, {self.fit} to {self.size} px (bilinear), {between}"
            "subtract the mean, divide by the deviation"
        )
        values = {name: value for name, value in asdict(self).items() if name != "stages" or value}
        return {**values, "channels": self.channels, "preprocessing": steps}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> InputSpec:
        """Raises ValueError where a key or a value is not one that `to_json` writes."""
        described = ("channels", "preprocessing")
        known: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k not in described
        }
        try:
            return cls(**known)
        except TypeError as error:
            names = ", ".join(field.name for field in fields(cls))
            raise ValueError(f"The input description has {', '.join(known)}; {names} were expected.") from error

    def _inner(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Width and height that the picture takes inside the square."""
        if self.fit == "stretch":
            return self.size, self.size
        scale = self.size / max(shape)
        return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))
