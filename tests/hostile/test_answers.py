"""Whatever bytes a decoding child answers, there is an image that can be shown, or a refusal in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from kdlight.contracts.image import Image
from kdlight.images.errors import ImageError
from kdlight.images.limits import Limits
from kdlight.images.sandbox import Sandbox
from tests.images.fake_child import child, parts, wire

BOX = Sandbox(limits=Limits(seconds=0.2, pixels=10_000))


def spoiled(rng: np.random.Generator) -> bytes:
    """An honest answer with bytes changed, cut out, doubled or put in."""
    data = bytearray(wire(*parts(kind="result" if rng.random() < 0.9 else "error")))
    for _ in range(rng.integers(1, 8)):
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 12))
        change = rng.integers(4)
        if change == 0:
            data[at] = rng.integers(256)
        elif change == 1:
            del data[at : at + length]
        elif change == 2:
            data[at:at] = data[at : at + length]
        else:
            data[at:at] = rng.choice(list(b'0123456789-.eE"[]{},:nulNaIfty\xff\0'), length).astype(np.uint8).tobytes()
        data = data or bytearray(b"\0")
    return bytes(data)


def test_any_answer_is_an_image_or_a_refusal(trials: Callable[[], Iterator[np.random.Generator]]) -> None:
    refused = 0
    for rng in trials():
        data = spoiled(rng)
        with child(BOX, lambda end, data=data: end.sendall(data)) as fork:
            try:
                image = BOX.converse(fork, b"file", 0)
            except ImageError:
                refused += 1
            else:
                assert isinstance(image, Image)
                assert image.display().dtype == np.uint8
    assert refused
