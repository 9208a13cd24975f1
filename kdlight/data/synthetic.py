"""A small labeled folder made of nothing, for a first training without data, and for tests."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from kdlight.data.dataset import DataError
from kdlight.storage import replacing_folder

Floats = NDArray[np.float64]
PER_GROUP = 2
"""Images of one imaginary patient: the same background, another lesion."""
SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "disc": lambda distance, _: 0.3 - distance,
    "ring": lambda distance, _: 0.08 - np.abs(distance - 0.26),
    "star": lambda distance, angle: 0.24 + 0.12 * np.cos(5 * angle) - distance,
}
"""The classes: a bright finding of this shape on a cloudy background. (distance, angle) to the depth inside."""


def synthetic(path: str | Path, per_class: int = 60, size: int = 64, seed: int = 0, noise: float = 0.12) -> Path:
    """Write `<class>/<number>.png` and manifest.csv (path, class, group) into a new folder, and return it.

    Gray images of `size` px; two images share a group. The same seed makes the same images. Raises DataError where the
    folder exists already: nothing is overwritten.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path} exists already; give the name of a new folder.")
    rng = np.random.default_rng(seed)
    rows = [("path", "class", "group")]
    with replacing_folder(path) as folder:
        for name, shape in SHAPES.items():
            (folder / name).mkdir()
            for number in range(per_class):
                if number % PER_GROUP == 0:
                    background = _clouds(rng, size)
                pixels = background + _finding(rng, shape, size) + rng.normal(0, noise, (size, size))
                ref = f"{name}/{number:03d}.png"
                PIL.Image.fromarray(np.clip(pixels * 255, 0, 255).astype(np.uint8)).save(folder / ref)
                rows.append((ref, name, f"{name}-{number // PER_GROUP:03d}"))
        with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows(rows)
    return path


def _clouds(rng: np.random.Generator, size: int) -> Floats:
    """(size, size) smooth gray in about [0.1, 0.5]."""
    coarse = PIL.Image.fromarray(rng.uniform(0.1, 0.5, (5, 5)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), PIL.Image.Resampling.BICUBIC), dtype=np.float64)


def _finding(rng: np.random.Generator, shape: Callable[[Floats, Floats], Floats], size: int) -> Floats:
    """(size, size): one shape with a soft border near the middle, of some size and brightness, turned at random."""
    x0, y0 = rng.uniform(0.35, 0.65, 2)
    scale, turn, bright = rng.uniform(0.7, 1.1), rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.45)
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    depth = shape(np.hypot(x - x0, y - y0) / scale, np.arctan2(y - y0, x - x0) + turn)
    return np.asarray(bright / (1 + np.exp(-depth / 0.02)))
