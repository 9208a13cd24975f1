"""Near-twins: test images that a training image shows almost as they are, such as the next slice of the same head.

A split by file, patient or equal hash does not part them, and a model is then asked what it has seen. Compared are the
brightness gradients of the pictures at 24 x 24 pixels, also mirrored, by their correlation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import PIL.Image
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIDE = 24
ALIKE = 0.85
"""Least correlation of near-twins. Looked at by eye on brain MRI, chest CT and breast ultrasound: pairs above are
neighboring slices or the same picture again; below 0.8 pairs of one view of two people begin."""
ROWS = 512
"""Images compared at once."""


def sketch(picture: np.ndarray) -> Floats:
    """Of a picture uint8 (H, W) or (H, W, 3): float32 (2, D), upright and mirrored, of mean 0 and length 1 each.

    Of a flat picture zeros: it is like nothing.
    """
    gray = PIL.Image.fromarray(picture).convert("L").resize((SIDE, SIDE), PIL.Image.Resampling.BOX)
    small = np.asarray(gray, dtype=np.float32)
    both = np.stack([small, small[:, ::-1]])
    across, down = np.diff(both, axis=2)[:, 1:], np.diff(both, axis=1)[:, :, 1:]
    rows = np.concatenate([across.reshape(2, -1), down.reshape(2, -1)], axis=1)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return unit


def counts(pictures: Iterable[np.ndarray], others: Iterable[np.ndarray]) -> NDArray[np.int64]:
    """How many near-twins each picture has among the others: (N,). Pictures as `sketch` takes them."""
    return counts_of([sketch(one) for one in pictures], [sketch(one) for one in others])


def counts_of(sketches: Sequence[Floats], others: Sequence[Floats]) -> NDArray[np.int64]:
    """The same of sketches that are at hand."""
    if not sketches or not others:
        return np.zeros(len(sketches), dtype=np.int64)
    among, twins = np.stack(others)[:, 0].T, []
    for start in range(0, len(sketches), ROWS):
        likeness = np.stack(sketches[start : start + ROWS]) @ among  # (n, 2, M)
        twins.append((likeness.max(axis=1) >= ALIKE).sum(axis=1))
    return np.concatenate(twins)


def share_at_random(train: np.ndarray, test: np.ndarray) -> float:
    """The share of as many test images that would have a near-twin in training if the split were drawn by image."""
    images = np.concatenate([train, test])
    others = np.maximum(counts(images, images) - 1, 0)  # without itself; a flat picture is not even like itself
    return float(np.mean(1 - (len(test) / len(images)) ** others))
