"""Rendering a whole set once, and keeping the result on disk for the next run."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from kdlight.data.dataset import Dataset, Progress
from kdlight.data.walk import in_threads
from kdlight.preprocessing import InputSpec
from kdlight.storage import ArrayCache

VERSION = 2
"""Raise it when decoding or rendering changes what comes out."""
CACHE = ArrayCache("pixels")


def rendered(dataset: Dataset, spec: InputSpec, progress: Progress | None = None, cache: bool = True) -> np.ndarray:
    """uint8 (N, size, size, 3). Raises DataError that names the first unreadable image.

    The cache's key is made of all that decides the pixels: names, sizes and times of change of the files, the
    InputSpec, and VERSION.
    """
    key = _key(dataset, spec)
    cached = CACHE.get(key) if cache else None
    if cached is not None:
        if progress:
            progress(len(dataset), len(dataset))
        return cached["pixels"]
    pixels = np.empty((len(dataset), spec.size, spec.size, 3), dtype=np.uint8)

    def render(index: int) -> None:
        pixels[index] = spec.render(dataset.source.image(dataset.items[index].ref))

    for _ in in_threads(render, range(len(dataset)), progress):
        pass
    if cache:
        CACHE.put(key, {"pixels": pixels})
    return pixels


def _key(dataset: Dataset, spec: InputSpec) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, dataset.source.name, spec.to_json()], sort_keys=True).encode())
    for item in dataset.items:
        digest.update(f"\0{item.ref}\0{dataset.source.stamp(item.ref)}".encode())
    return digest.hexdigest()
