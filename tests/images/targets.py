"""What a decoder may do wrong. Run only inside the sandbox's children."""

from __future__ import annotations

import ctypes
import os
import time

import numpy as np

from kdlight.contracts.image import Image
from kdlight.contracts.modality import Window

SEEN: list[bytes] = []
"""What this child was asked before."""


def misbehave(data: bytes, frame: int) -> Image:
    """The bytes say how; anything else gives an image of their number."""
    word, before = data.decode(), len(SEEN)
    SEEN.append(data)
    if word == "alone" and before:
        ctypes.string_at(0)
    if word == "picky" and before:
        raise RuntimeError
    if word == "spin":
        while True:
            pass
    if word == "sleep":
        time.sleep(60)
    if word == "nap":
        time.sleep(0.4)
    if word == "SIGSEGV":
        ctypes.string_at(0)
    if word == "abort":
        os.abort()
    if word == "swell":
        return _image(np.ones(10**9))
    if word == "bug":
        raise RuntimeError("Doe^Jane")
    if word == "exit":
        os._exit(3)
    return _image(np.full((2, 2), len(data), np.float32))


def _image(pixels: np.ndarray) -> Image:
    return Image(pixels=pixels, sha256="", format="test", bits=8, windows=(Window(0, 1),), frames=os.getpid())
