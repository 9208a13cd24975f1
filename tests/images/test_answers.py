"""What a decoding child answers is untrusted: whatever is no image as it was asked for is a crash of the decoder."""

from __future__ import annotations

import copy
import math
import socket
import struct
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kdlight.images.errors import CrashError, HeaderError, TimeLimitError
from kdlight.images.limits import Limits
from kdlight.images.sandbox import Sandbox
from tests.images.fake_child import GRAY, child, parts, wire

BOX = Sandbox(limits=Limits(seconds=0.3, pixels=10_000))
Spoil = Callable[[dict[str, Any], dict[str, Any]], object]


def ask(data: bytes, frame: int = 0) -> Any:
    with child(BOX, lambda end: end.sendall(data)) as fork:
        return BOX.converse(fork, b"file", frame)


def arrays(*forms: tuple[str, list[int]]) -> Spoil:
    return lambda head, _: head.update(arrays=[{"dtype": dtype, "shape": shape} for dtype, shape in forms])


def test_an_honest_answer_is_an_image() -> None:
    image = ask(wire(*parts()))
    assert np.array_equal(image.pixels, GRAY.pixels)
    assert (image.windows, image.spacing, image.removed) == (GRAY.windows, GRAY.spacing, GRAY.removed)


SPOILED: dict[str, Spoil] = {
    "another kind": lambda head, _: head.update(kind="progress"),
    "an unknown kind": lambda head, _: head.update(kind="pickle"),
    "a NaN as number": lambda head, _: head.update(number=math.nan),
    "a huge name": lambda head, _: head.update(name="x" * 101),
    "a third array": arrays(("float32", [2, 3]), ("uint8", [4]), ("uint8", [1])),
    "a hundred arrays": arrays(*[("uint8", [0])] * 100),
    "no array": arrays(),
    "one array of two": arrays(("float32", [2, 3])),
    "the wrong type": arrays(("float64", [1, 3]), ("uint8", [4])),
    "bytes for pixels": arrays(("bytes", [24]), ("uint8", [4])),
    "one dimension": arrays(("float32", [6]), ("uint8", [4])),
    "no rows": arrays(("float32", [0, 3]), ("uint8", [4])),
    "gray as bytes": arrays(("uint8", [6, 4]), ("uint8", [4])),
    "two channels": arrays(("uint8", [4, 3, 2]), ("uint8", [4])),
    "more pixels than may be": arrays(("uint8", [100, 101, 3]), ("uint8", [4])),
    "more bytes than may be": arrays(("float32", [10**6, 10**6]), ("uint8", [4])),
    "a size beyond any": arrays(("float32", [2**62, 2**62]), ("uint8", [4])),
    "a negative size": arrays(("float32", [-1, 3]), ("uint8", [4])),
    "a table of two dimensions": arrays(("float32", [2, 3]), ("uint8", [2, 2])),
    "a table that is empty": arrays(("float32", [2, 3]), ("uint8", [0])),
    "a table of words": arrays(("float32", [2, 3]), ("uint16", [2])),
    "an array that is not there": lambda _, body: body.update(pixels={"$array": 2}),
    "an array by a word": lambda _, body: body.update(pixels={"$array": "0"}),
    "a picture in words": lambda _, body: body.update(pixels="black"),
    "no pixels": lambda _, body: body.pop("pixels"),
    "a fact too many": lambda _, body: body.update(patient="Doe^Jane"),
    "another frame": lambda _, body: body.update(frame=1),
    "a frame beyond the last": lambda _, body: body.update(frames=0),
    "no window": lambda _, body: body.update(windows=[]),
    "a window without width": lambda _, body: body["windows"][0].update(width=0),
    "a window that is no number": lambda _, body: body["windows"][0].update(center=math.nan),
    "a window without end": lambda _, body: body["windows"][0].update(width=math.inf),
    "a window of an unknown function": lambda _, body: body["windows"][0].update(function="cubic"),
    "too many windows": lambda _, body: body.update(windows=body["windows"] * 300),
    "no bits": lambda _, body: body.update(bits=0),
    "a number of 400 digits": lambda _, body: body.update(bits=10**400),
    "spacing that is no number": lambda _, body: body.update(spacing=[math.nan, 1]),
    "markup": lambda _, body: body.update(modality="<script>"),
    "a long word": lambda _, body: body.update(body_part="a" * 101),
    "too many keywords": lambda _, body: body.update(removed=["a"] * 20_000),
    "a huge body": lambda _, body: body.update(units="x" * (1 << 20)),
}


@pytest.mark.parametrize("name", SPOILED)
def test_an_answer_that_is_no_image_is_a_crash(name: str) -> None:
    head, body, raw = parts()
    SPOILED[name](head, body)
    announced = sum(max(0, math.prod(form["shape"])) for form in head["arrays"])
    raw = raw.ljust(min(announced, 1 << 17), b"\0")
    with pytest.raises(CrashError, match="makes no sense"):
        ask(wire(head, body, raw))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_pixels_are_finite(value: float) -> None:
    head, body, raw = parts()
    with pytest.raises(CrashError, match="makes no sense"):
        ask(wire(head, body, struct.pack("<f", value) + raw[4:]))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 8,
        struct.pack("<II", 2, 1 << 21) + b"{}",
        struct.pack("<II", 1 << 31, 2),
        struct.pack("<II", 2, 2) + b"\xff\xff{}",
        wire({"kind": "result"}, None).replace(b"null", b"nul["),
        wire({"kind": "result"}, []),
        wire({"kind": "ready"}, {"pid": 1, "guard": "seccomp"}),
    ],
)
def test_a_message_out_of_form_is_a_crash(data: bytes) -> None:
    with pytest.raises(CrashError, match="makes no sense"):
        ask(data)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_an_answer_that_breaks_off_is_a_crash(share: float) -> None:
    data = wire(*parts())
    with pytest.raises(CrashError):
        ask(data[: int(len(data) * share)])


REFUSALS: dict[str, dict[str, Any]] = {
    "of no known class": {"name": "KeyboardInterrupt"},
    "of the base class": {"name": "ImageError"},
    "without words": {"message": ""},
    "of many words": {"message": "x" * 1001},
    "of several lines": {"message": "one\ntwo"},
    "that turns the text around": {"message": "one \u202e two"},
    "that gives reasons": {"reasons": [1]},
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_that_no_decoder_makes_is_a_crash(name: str) -> None:
    body = {"name": "HeaderError", "message": "The header is damaged.", "reasons": []} | REFUSALS[name]
    with pytest.raises(CrashError, match="makes no sense"):
        ask(wire({"kind": "error"}, body))


def test_a_refusal_keeps_its_reason_and_words() -> None:
    with pytest.raises(HeaderError, match=r"^The header is damaged\.$"):
        ask(wire({"kind": "error"}, {"name": "HeaderError", "message": "The header is damaged."}))


@pytest.mark.parametrize("frames", [0, -1, 1.5, math.nan, 10**9, 10**400, "3", None, [3]])
def test_a_number_of_frames_that_none_has_is_a_crash(frames: Any) -> None:
    data = wire({"kind": "result"}, {"frames": frames})
    with child(BOX, lambda end: end.sendall(data)) as fork, pytest.raises(CrashError, match="makes no sense"):
        BOX.count(fork, b"file")


def test_no_memory_is_taken_for_what_may_not_be() -> None:
    head, body, raw = parts()
    arrays(("float32", [1 << 14, 1 << 14]), ("uint8", [4]))(head, body)
    data = wire(head, body, raw)
    tracemalloc.start()
    try:
        with pytest.raises(CrashError):
            ask(data)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20  # 1 GB was announced
    finally:
        tracemalloc.stop()


def test_an_answer_in_drops_is_over_when_the_time_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdlight.images.sandbox._GRACE_SECONDS", 0.2)
    data, start = wire(*parts()), time.monotonic()

    def drip(end: socket.socket) -> None:
        for place in range(len(data)):
            end.sendall(data[place : place + 1])
            time.sleep(0.02)

    with child(BOX, drip) as fork, pytest.raises(TimeLimitError, match="no answer"):
        BOX.converse(fork, b"file", 0)
    assert time.monotonic() - start < 3


def test_what_is_spoiled_is_one_thing_only() -> None:
    """Every entry changes an honest answer: none is refused for something else."""
    for spoil in SPOILED.values():
        head, body, _ = parts()
        before = copy.deepcopy((head, body))
        spoil(head, body)
        assert (head, body) != before
