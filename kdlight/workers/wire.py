"""How requests and answers cross a socket: a JSON head and the raw bytes of its arrays. Never a pickle."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import select
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kdlight.images import Image, Window
from kdlight.reading import Eligibility, HeatMap, Opinion, Reading
from kdlight.workers.requests import REQUESTS

_LENGTH = struct.Struct("<I")
RECORDS: dict[str, Any] = {
    kind.__name__: kind for kind in (Image, Window, Reading, Opinion, HeatMap, Eligibility, *REQUESTS.values())
}


class ChannelClosedError(ConnectionError):
    """The other side is gone."""


class ChannelSilentError(ChannelClosedError):
    """The other side is there, and neither speaks nor listens."""


class Channel:
    """One end of a socket that carries messages: dicts of plain values, of the RECORDS above, and of arrays.

    Several threads may send, one may receive. `timeout` in seconds is how long the other side may keep still.
    """

    def __init__(self, end: socket.socket, timeout: float | None = None) -> None:
        self._end = end
        self._end.settimeout(timeout)
        self._sending = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Raises ChannelClosedError, TypeError for what cannot be sent."""
        arrays: list[np.ndarray] = []
        body = pack(message, arrays)
        shapes = [{"dtype": a.dtype.str, "shape": a.shape} for a in arrays]
        head = json.dumps({"body": body, "arrays": shapes}).encode()
        with self._sending, _closing():
            self._end.sendall(_LENGTH.pack(len(head)) + head)
            for array in arrays:
                if array.size:
                    self._end.sendall(array.data.cast("B"))

    def receive(self) -> dict[str, Any]:
        """The next message. Raises ChannelClosedError."""
        with _closing():
            (length,) = _LENGTH.unpack(self._read(bytearray(_LENGTH.size)))
            head = json.loads(bytes(self._read(bytearray(length))))
            arrays = [self._array(**described) for described in head["arrays"]]
        message: dict[str, Any] = unpack(head["body"], arrays)
        return message

    def waiting(self) -> bool:
        """Whether something came (or the other side went)."""
        return bool(select.select([self._end], [], [], 0)[0])

    def close(self) -> None:
        self._end.close()

    def _array(self, dtype: str, shape: list[int]) -> np.ndarray:
        array = np.empty(shape, np.dtype(dtype))
        if array.size:
            self._read(array.data.cast("B"))
        return array

    def _read(self, buffer: bytearray | memoryview) -> bytearray | memoryview:
        view, done = memoryview(buffer), 0
        while done < len(view):
            count = self._end.recv_into(view[done:])
            if count == 0:
                raise ChannelClosedError("The other side closed the channel.")
            done += count
        return buffer


@contextlib.contextmanager
def _closing() -> Iterator[None]:
    try:
        yield
    except ChannelClosedError:
        raise
    except TimeoutError as error:
        raise ChannelSilentError("The other side keeps still.") from error
    except OSError as error:
        raise ChannelClosedError("The other side is gone.") from error


def pack(value: Any, arrays: list[np.ndarray]) -> Any:
    """Values to JSON-ready ones; arrays are put into `arrays` and named by their place. TypeError for anything else."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray):
        arrays.append(np.ascontiguousarray(value))
        return {"array": len(arrays) - 1}
    if isinstance(value, list):
        return [pack(v, arrays) for v in value]
    if isinstance(value, tuple):
        return {"tuple": [pack(v, arrays) for v in value]}
    if isinstance(value, dict):
        return {"dict": {k: pack(v, arrays) for k, v in value.items()}}
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, np.generic):
        return value.item()
    if type(value).__name__ in RECORDS:
        fields = {f.name: pack(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
        return {"record": type(value).__name__, "fields": fields}
    raise TypeError(f"A {type(value).__name__} cannot be sent to a worker; plain values, images and arrays can.")


def unpack(value: Any, arrays: list[np.ndarray]) -> Any:
    """The reverse of `pack`."""
    if isinstance(value, list):
        return [unpack(v, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    if "record" in value:
        return RECORDS[value["record"]](**{k: unpack(v, arrays) for k, v in value["fields"].items()})
    ((kind, inner),) = value.items()
    if kind == "array":
        return arrays[inner]
    if kind == "tuple":
        return tuple(unpack(v, arrays) for v in inner)
    if kind == "path":
        return Path(inner)
    return {k: unpack(v, arrays) for k, v in inner.items()}
