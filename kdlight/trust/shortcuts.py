"""Images with a part of each taken from others: what a model makes of the rim alone, of the center alone, and so on.

A part is never blanked. A gray or black center is like no image that a model was trained on: most models then give one
class to every image, which says nothing of the rim (on `cxr3` they call all of 192 images "No findings"). So the rest
of the picture comes from other images, one of each class, and the answers are averaged: what the rest says of the
classes cancels out, and each composite looks like an image of the set. The choice is ours, after Xiao et al. 2021
(https://arxiv.org/abs/2006.09994), who exchange backgrounds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from kdlight.metrics.shortcuts import ProbeKind

RIM = 0.1
"""Width of the rim on each of the four sides, as a share of the side: 36 % of the picture."""
CORNER = 0.2
"""Side of each of the four corners, as a share of the picture's."""
MARKER = 1 / 8
"""Height of the planted letter, as a share of the side: that of the side markers of radiographs, or a little more."""


def in_center(side: int) -> np.ndarray:
    """(side, side), True inside of the rim."""
    width = round(RIM * side)
    inside = np.zeros((side, side), dtype=np.bool_)
    inside[width : side - width, width : side - width] = True
    return inside


def donors(labels: np.ndarray, groups: np.ndarray, seed: int = 0) -> np.ndarray | None:
    """For each image one of every class, drawn from other groups than its own: indices (N, classes there are).

    None where a class has images of one group only: an image would have to be its own donor.
    """
    rng, picked = np.random.default_rng(seed), []
    for one in np.unique(labels):
        of_class = np.flatnonzero(labels == one)
        if len(np.unique(groups[of_class])) < 2:
            return None
        picked.append([rng.choice(of_class[groups[of_class] != group]) for group in groups])
    return np.array(picked).T


def alone(kind: ProbeKind, pixels: np.ndarray, partners: np.ndarray) -> Iterator[np.ndarray]:
    """The rim or the center of images uint8 (N, S, S, 3) in those of their donors (N, classes), donor by donor."""
    inside = in_center(pixels.shape[1])
    stays = (~inside if kind == "rim" else inside)[None, :, :, None]
    for column in partners.T:
        yield np.where(stays, pixels, pixels[column])


def without_corners(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The four corners as they are on average, each class counted alike: what stood there is gone, the tone stays."""
    side = pixels.shape[1]
    mean = np.mean([pixels[labels == one].mean(axis=0) for one in np.unique(labels)], axis=0)
    edge = np.zeros(side, dtype=np.bool_)
    edge[: round(CORNER * side)] = edge[side - round(CORNER * side) :] = True
    corners = (edge[:, None] & edge)[None, :, :, None]
    return np.asarray(np.where(corners, mean.round().astype(np.uint8), pixels))


def cropped(pixels: np.ndarray) -> np.ndarray:
    """Without the rim, the rest enlarged."""
    side, width = pixels.shape[1], round(RIM * pixels.shape[1])
    box = (width, width, side - width, side - width)
    bilinear = PIL.Image.Resampling.BILINEAR
    return np.stack([np.asarray(PIL.Image.fromarray(p).resize((side, side), bilinear, box=box)) for p in pixels])


def marked(pixels: np.ndarray) -> np.ndarray:
    """With a white R in the upper left corner, as radiographs have one."""
    side = pixels.shape[1]
    font = PIL.ImageFont.load_default(round(MARKER * side / 0.7))  # a capital is 0.7 of a font's size
    letter = PIL.Image.new("L", (side, side))
    place, bold = (side // 24, side // 24), max(1, side // 128)
    PIL.ImageDraw.Draw(letter).text(place, "R", 255, font, anchor="lt", stroke_width=bold)
    return np.asarray(np.maximum(pixels, np.asarray(letter)[None, :, :, None]))
