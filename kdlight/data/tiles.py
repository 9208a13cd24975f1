"""Which images of a set were made from the same picture by turning, mirroring and enlarging it about its center.

Ours. A picture is sampled on circles whose radii grow by a constant factor, so that turning shifts it along the circles
and enlarging from circle to circle. The sizes of each circle's Fourier coefficients do not change when it is turned or
mirrored: they find the NEAREST candidates. Two pictures are of one origin where the fine structure on their circles,
laid upon each other at the best turn, enlargement and mirroring, correlates above ALIKE. What is linked is one group.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFilter
from numpy.typing import NDArray

from kdlight.data.dataset import DataError
from kdlight.data.pixels import cache_folder

Floats = NDArray[np.float32]
Complexes = NDArray[np.complex64]

VERSION = 1
"""Raise it when a figure below changes."""
SIDE = 96
CIRCLES = 48
INNER, OUTER = 6.0, 46.0
"""Radii in pixels of the smallest and the largest circle."""
COARSE = 8
"""Structure wider than this (standard deviation in pixels) tells no picture from another: light areas are alike."""
ANGLES = 128
HARMONICS = 8
"""Coefficients per circle that look for candidates."""
MOVES = 8
"""Circles by which enlarging can move a picture: a turn by 25 degrees is cut to 1/1.33, which is 6.6 of them."""
NEAREST = 40
ALIKE = 0.42
"""Between .34, the highest of 2,600 pairs of different tiles of lung_n, and what 85 % of its copies reach."""
BLOCK = 512

log = logging.getLogger(__name__)


def origins(paths: Sequence[Path]) -> list[int]:
    """A number per file, equal for those of one origin; kept on disk, since 5,000 files take a while.

    Raises DataError that names the first file that cannot be read.
    """
    key = hashlib.sha256(json.dumps([VERSION, [_stamp(path) for path in paths]]).encode()).hexdigest()
    kept = cache_folder() / "origins" / f"{key}.json"
    try:
        found: list[int] = json.loads(kept.read_text(encoding="utf-8"))
        if len(found) == len(paths):
            return found
    except (OSError, ValueError):
        log.info("Looking for the common origins of %d images.", len(paths))
    found = link(*_described(paths))
    try:
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = kept.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(found), encoding="utf-8")
        beside.replace(kept)
    except OSError as error:
        log.warning("The origins could not be kept in %s: %s.", kept.parent, error.strerror or error)
    return found


def described(picture: NDArray[np.uint8]) -> tuple[Floats, Complexes]:
    """RGB (SIDE, SIDE, 3) to its signature (CIRCLES, 3 * HARMONICS) and its fine structure's circles (CIRCLES, A).

    Outer circles count more, as they hold more of the picture.
    """
    gray = PIL.Image.fromarray(picture).convert("L")
    fine = np.asarray(gray, dtype=np.float32) - np.asarray(gray.filter(PIL.ImageFilter.GaussianBlur(COARSE)))
    laid = circles(fine[:, :, None])[:, :, 0]
    laid[:, 0] -= laid[:, 0].mean()
    weight = (OUTER / INNER) ** (np.arange(CIRCLES) / (CIRCLES - 1) / 2)
    return signature(circles(picture)), np.asarray(laid * weight[:, None], dtype=np.complex64)


def circles(picture: NDArray[Any]) -> Complexes:
    """Channels (SIDE, SIDE, C) to the Fourier coefficients along each circle: complex (CIRCLES, ANGLES // 2 + 1, C)."""
    radii = INNER * (OUTER / INNER) ** (np.arange(CIRCLES) / (CIRCLES - 1))
    angles = 2 * np.pi * np.arange(ANGLES) / ANGLES
    y = (SIDE - 1) / 2 + radii[:, None] * np.sin(angles)
    x = (SIDE - 1) / 2 + radii[:, None] * np.cos(angles)
    rows, columns = np.floor(y).astype(int), np.floor(x).astype(int)
    v, u = (y - rows)[..., None], (x - columns)[..., None]
    corners = [[picture[rows + a, columns + b].astype(np.float32) for b in (0, 1)] for a in (0, 1)]
    upper, lower = ((1 - u) * pair[0] + u * pair[1] for pair in corners)
    return np.asarray(np.fft.rfft((1 - v) * upper + v * lower, axis=1), dtype=np.complex64)


def signature(found: Complexes) -> Floats:
    """Circles of one picture to what turning and mirroring do not change: (CIRCLES, 3 * HARMONICS)."""
    return np.asarray(np.log1p(np.abs(found[:, :HARMONICS])), dtype=np.float32).reshape(CIRCLES, -1)


def similarity(one: Floats, other: Floats) -> Floats:
    """The largest correlation over all moves: standardized signatures (N, CIRCLES, F) and (M, CIRCLES, F) to (N, M)."""
    best = np.full((len(one), len(other)), -1.0, dtype=np.float32)
    for a, b in _moves(one, other):
        a, b = a.reshape(len(one), -1), b.reshape(len(other), -1)
        a = a / np.linalg.norm(a, axis=1, keepdims=True).clip(1e-6)
        b = b / np.linalg.norm(b, axis=1, keepdims=True).clip(1e-6)
        np.maximum(best, a @ b.T, out=best)
    return best


def overlap(one: Complexes, others: Complexes) -> Floats:
    """How well one picture (CIRCLES, A) lies on each of others (K, CIRCLES, A) at the best turn: correlations (K,).

    Both are Fourier coefficients along the circles of gray pictures without their mean. Turning is a shift along the
    circle, found by the correlation theorem; mirroring is the complex conjugate.
    """
    best = np.full(len(others), -1.0, dtype=np.float32)
    for a, b in _moves(one[None], others):
        weight = np.sqrt(_power(a) * _power(b)).clip(1e-6)
        for mirrored in (a, a.conj()):
            turned = np.fft.irfft((mirrored * b.conj()).sum(axis=1), n=ANGLES, axis=1).max(axis=1) * ANGLES
            np.maximum(best, (turned / weight).astype(np.float32), out=best)
    return best


def _moves(one: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """The circles (axis 1) that lie on each other at each enlargement."""
    for move in range(-MOVES, MOVES + 1):
        yield one[:, max(0, move) : CIRCLES + min(0, move)], other[:, max(0, -move) : CIRCLES - max(0, move)]


def _power(coefficients: Complexes) -> Floats:
    """Sum of squares times ANGLES of the real signals behind rfft coefficients (N, C, A): (N,), by Parseval."""
    squares = np.abs(coefficients) ** 2
    return np.asarray(2 * squares.sum((1, 2)) - squares[:, :, 0].sum(1) - squares[:, :, -1].sum(1), dtype=np.float32)


def link(signatures: Floats, laid: Complexes) -> list[int]:
    """Signatures (N, CIRCLES, F) and fine circles (N, CIRCLES, A) to a number per picture, equal within a group.

    The numbers begin at 0, in order of appearance.
    """
    standard = (signatures - signatures.mean(axis=0)) / (signatures.std(axis=0) + 1e-3)
    home = list(range(len(laid)))
    for start in range(0, len(laid), BLOCK):
        near = similarity(standard[start : start + BLOCK], standard)
        for row, scores in enumerate(near, start=start):
            nearest = np.argsort(-scores, kind="stable")[: NEAREST + 1]
            for other in nearest[overlap(laid[row], laid[nearest]) >= ALIKE]:
                _join(home, row, int(other))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(_root(home, item), len(numbers)) for item in range(len(home))]


def _root(home: list[int], item: int) -> int:
    while home[item] != item:
        home[item] = home[home[item]]
        item = home[item]
    return item


def _join(home: list[int], one: int, other: int) -> None:
    first, second = _root(home, one), _root(home, other)
    home[max(first, second)] = min(first, second)


def _described(paths: Sequence[Path]) -> tuple[Floats, Complexes]:
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        found = list(pool.map(lambda path: described(_small(path)), paths))
    return np.stack([marks for marks, _ in found]), np.stack([laid for _, laid in found])


def _small(path: Path) -> NDArray[np.uint8]:
    """The picture at SIDE px; a JPEG is decoded at an eighth of its size, which is quick."""
    try:
        with PIL.Image.open(io.BytesIO(path.read_bytes()), formats=("JPEG", "PNG")) as opened:
            opened.draft("RGB", (SIDE, SIDE))
            small = opened.convert("RGB").resize((SIDE, SIDE), PIL.Image.Resampling.BOX)
            return np.asarray(small)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image. Replace it or remove it from the set.") from error


def _stamp(path: Path) -> str:
    found = path.stat()
    return f"{path}:{found.st_size}:{found.st_mtime_ns}"
