"""What crosses between processes comes out as it went in; whatever breaks the form or a limit is refused."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, InstanceOf

from kdlight.processes import Channel, ChannelClosedError, ChannelSilentError, MessageError, MessageLimits

LIMITS = MessageLimits(text=500, arrays=64)


class Point(BaseModel):
    at: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    points: dict[str, Point]
    file: Path
    values: InstanceOf[np.ndarray]
    share: float | None = None


Ends = tuple[socket.socket, Channel]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A bare socket, and the limited channel at its other end."""
    mine, theirs = socket.socketpair()
    with mine, theirs:
        yield mine, Channel(theirs, 5.0, LIMITS)


@pytest.mark.parametrize(
    "values",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.zeros((0, 3), np.uint8),
        np.array([[True, False]]),
        np.array([1, 2], ">i4"),
        np.array(2.5),
    ],
)
def test_a_record_crosses_whole(ends: Ends, values: np.ndarray) -> None:
    end, receiving = ends
    sent = Record({"a": Point(at=(1, 2))}, Path("/x"), values, np.float32(0.5))  # type: ignore[arg-type]
    Channel(end).send("result", sent, number=7, name="Record")
    message = receiving.receive()
    got = message.parse(Record)
    assert (message.kind, message.number, message.name) == ("result", 7, "Record")
    assert (got.points, got.file, got.share) == (sent.points, sent.file, 0.5)
    np.testing.assert_array_equal(got.values, values)
    assert (got.values.shape, got.values.dtype.kind) == (values.shape, values.dtype.kind)


@pytest.mark.parametrize("data", [b"", b"file", bytes(range(200)) * 5000])
def test_bytes_cross_whole(data: bytes) -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(Channel(mine, 5.0).send, "request", {"data": data, "frame": 1})
        assert Channel(theirs, 5.0).receive().body == {"data": data, "frame": 1}
        sending.result()


def raw(header: Any, body: Any = None, rest: bytes = b"", length: int | None = None) -> bytes:
    head, text = json.dumps(header).encode(), json.dumps(body).encode()
    return struct.pack("<II", len(head) if length is None else length, len(text)) + head + text + rest


def array(**changes: Any) -> dict[str, Any]:
    return {"kind": "result", "arrays": [{"dtype": "uint8", "shape": [4]} | changes]}


@pytest.mark.parametrize(
    "sent",
    [
        raw({"kind": "result"}, length=501),
        raw({"kind": "result"}, "x" * 500),
        raw({"kind": "pickle"}),
        raw({"kind": "result", "more": 1}),
        raw({"kind": "result", "number": -1}),
        raw([]),
        raw(array(dtype="object")),
        raw(array(dtype="float64", shape=[9])),
        raw(array(shape=[2**40, 2**40])),
        raw(array(shape=[-1])),
        raw(array(shape=[1, 1, 1, 1, 1])),
        raw({"kind": "result"}, {"$array": 0}),
        raw({"kind": "result"}, {"$array": "0"}),
        struct.pack("<II", 1, 1) + b"\xff\xff",
        struct.pack("<II", 17, 400) + b'{"kind":"result"}' + b"[" * 400,
    ],
)
def test_what_breaks_the_form_or_a_limit_is_refused(ends: Ends, sent: bytes) -> None:
    end, receiving = ends
    end.sendall(sent)
    with pytest.raises(MessageError):
        receiving.receive()


@pytest.mark.parametrize("body", [None, {"at": [1]}, {"at": [1, 2], "b": {"$array": 0}, "extra": []}, {"at": "no"}])
def test_a_body_of_another_type_is_refused(ends: Ends, body: Any) -> None:
    end, receiving = ends
    end.sendall(raw(array(), body, b"\0" * 4))
    with pytest.raises(MessageError, match="is no"):
        receiving.receive().parse(tuple[int, Point])


def test_an_end_and_a_silence_are_told_apart(ends: Ends) -> None:
    end, receiving = ends
    end.close()
    with pytest.raises(ChannelClosedError) as closed:
        receiving.receive()
    assert not isinstance(closed.value, ChannelSilentError)
    mine, theirs = socket.socketpair()
    with mine, theirs, pytest.raises(ChannelSilentError):
        Channel(theirs, 0.01).receive()


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([object()]), b"bytes".decode])
def test_other_objects_cannot_be_sent(ends: Ends, value: object) -> None:
    end, _ = ends
    with pytest.raises(TypeError, match="cannot be sent to another process"):
        Channel(end).send("request", [value])
