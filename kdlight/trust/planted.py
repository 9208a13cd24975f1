"""Images that do not belong: copies of a bundle's own, turned or spoiled, and drawn ones; uint8 (N, S, S, 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
import PIL.ImageFont

from kdlight.contracts.reading import MisfitKind
from kdlight.preprocessing.augment import Policy

Change = Callable[[np.ndarray], np.ndarray]

NOISE, BLUR = 40.0, 1 / 32
"""Deviation of strong noise in gray levels, and of strong blur as a share of the side: beyond what training shows."""

TURNS: dict[str, tuple[MisfitKind, Change]] = {
    "turned by 90 degrees": ("turned", lambda p: np.rot90(p, 1, (1, 2))),
    "turned by 270 degrees": ("turned", lambda p: np.rot90(p, 3, (1, 2))),
    "turned by 180 degrees": ("upside_down", lambda p: np.rot90(p, 2, (1, 2))),
    "upside down": ("upside_down", lambda p: p[:, ::-1]),
    "mirrored": ("mirrored", lambda p: p[:, :, ::-1]),
    "inverted": ("inverted", lambda p: 255 - p),
    "channels swapped": ("swapped_channels", lambda p: p[..., ::-1]),
}
"""Copies that keep every pixel, with what each is to an image that is as it should be."""


def misleading(policy: Policy, color: bool) -> dict[str, tuple[MisfitKind, Change]]:
    """Those of TURNS that are a fault: what training shows on purpose, or leaves a gray image as it is, is none."""
    fine = {
        "turned": policy.quarter_turns,
        "upside_down": policy.quarter_turns or policy.upside_down,
        "mirrored": policy.mirror,
        "swapped_channels": not color,
    }
    return {name: (kind, change) for name, (kind, change) in TURNS.items() if not fine.get(kind, False)}


def noisy(pixels: np.ndarray) -> np.ndarray:
    drawn = np.random.default_rng(0).normal(0, NOISE, (*pixels.shape[:3], 1))
    return np.clip(pixels + drawn, 0, 255).astype(np.uint8)


def blurred(pixels: np.ndarray) -> np.ndarray:
    blur = PIL.ImageFilter.GaussianBlur(pixels.shape[1] * BLUR)
    return np.stack([np.asarray(PIL.Image.fromarray(picture).filter(blur)) for picture in pixels])


def corner(pixels: np.ndarray) -> np.ndarray:
    """The upper left ninth, enlarged."""
    side = pixels.shape[1]
    box = (0, 0, side // 3, side // 3)
    return np.stack([np.asarray(PIL.Image.fromarray(p).resize((side, side), box=box)) for p in pixels])


def on_a_page(pixels: np.ndarray) -> np.ndarray:
    """Half as large on a light page: a screen or a document caught as a picture."""
    side = pixels.shape[1]
    page, (top, left) = np.full_like(pixels, 235), (side // 3, side // 4)
    page[:, : side // 12] = 60
    small = pixels[:, : side // 2 * 2 : 2, : side // 2 * 2 : 2]
    page[:, top : top + side // 2, left : left + side // 2] = small
    return page


def warm(pixels: np.ndarray) -> np.ndarray:
    """As a photograph of a screen under a lamp: red stays, green and blue fade."""
    return np.asarray(pixels * np.array([1.0, 0.7, 0.45])).astype(np.uint8)


def empty(pixels: np.ndarray) -> np.ndarray:
    """Next to nothing: one gray with a little noise."""
    rng = np.random.default_rng(0)
    level = rng.uniform(10, 245, (len(pixels), 1, 1, 1))
    return np.clip(level + rng.normal(0, 3, (*pixels.shape[:3], 1)), 0, 255).repeat(3, axis=3).astype(np.uint8)


def random(pixels: np.ndarray) -> np.ndarray:
    """Every pixel by itself."""
    return np.random.default_rng(0).integers(0, 256, (*pixels.shape[:3], 1), dtype=np.uint8).repeat(3, axis=3)


def text(pixels: np.ndarray) -> np.ndarray:
    """Pages of words, dark on light."""
    rng = np.random.default_rng(0)
    words = ("findings", "of", "the", "chest", "without", "contrast", "no", "evidence", "acute", "disease")

    def page() -> np.ndarray:
        picture = PIL.Image.new("RGB", (640, 640), (255, 255, 255))
        size = int(rng.integers(12, 40))
        font = PIL.ImageFont.load_default(size)
        for y in range(20, 600, size * 3 // 2):
            line = " ".join(rng.choice(words, rng.integers(2, 12)))
            PIL.ImageDraw.Draw(picture).text((30, y), line, (0, 0, 0), font)
        return np.asarray(picture.resize(pixels.shape[2:0:-1]))

    return np.stack([page() for _ in pixels])


SPOILED: Mapping[str, Change] = {
    "strong noise": noisy,
    "strong blur": blurred,
    "corner only": corner,
    "on a page": on_a_page,
    "tinted": warm,
    "underexposed": lambda p: (p * 0.12).astype(np.uint8),
    "blank": empty,
    "random pixels": random,
    "text page": text,
}
PLANTED: Mapping[str, Change] = {**{name: change for name, (_, change) in TURNS.items()}, **SPOILED}
"""By the words that tables have for them."""


def planted(policy: Policy, color: bool) -> dict[str, Change]:
    """Those of PLANTED that do not belong to a bundle of images of this kind."""
    return {**{name: change for name, (_, change) in misleading(policy, color).items()}, **SPOILED}
