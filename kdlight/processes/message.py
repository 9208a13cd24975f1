"""Messages between processes: a header of one form, a JSON body, and the raw bytes of its arrays; never a pickle.

On the wire: the lengths of header and body, both as JSON, then the arrays' bytes in the header's order. In the body an
array is {"$array": its number}.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError

Kind = Literal["ready", "request", "cancel", "progress", "result", "error"]
DType = Literal["bool", "uint8", "uint16", "int16", "int32", "int64", "float32", "float64", "bytes"]
T = TypeVar("T")
_LENGTHS = struct.Struct("<II")
_ARRAY = "$array"
_FORM = ConfigDict(frozen=True, extra="forbid")


class ChannelClosedError(ConnectionError):
    """The other side is gone."""


class ChannelSilentError(ChannelClosedError):
    """The other side is there, and neither sends nor receives."""


class MessageError(ChannelClosedError):
    """The other side sent what breaks the form or a limit: nothing that follows on its channel can be trusted."""


class ArrayForm(BaseModel):
    """Type and shape of one array, or the length of one bytes object."""

    model_config = _FORM
    dtype: DType
    shape: Annotated[tuple[NonNegativeInt, ...], Field(max_length=4)]

    @property
    def bytes(self) -> int:
        itemsize = 1 if self.dtype == "bytes" else np.dtype(self.dtype).itemsize
        return int(itemsize * np.prod(self.shape, dtype=object))


class Header(BaseModel):
    """What stands before every body. name: which request; number: which one of many a message belongs to."""

    model_config = _FORM
    kind: Kind
    number: NonNegativeInt = 0
    name: Annotated[str, Field(max_length=100)] = ""
    arrays: Annotated[tuple[ArrayForm, ...], Field(max_length=100)] = ()


class Failure(BaseModel):
    """The body of an error: the exception's class, and its sentence where that was written for people."""

    model_config = _FORM
    name: str
    message: str = ""
    reasons: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """A ValueError is the caller's mistake and keeps its sentence; of a fault only its name crosses."""
        message = str(error) if isinstance(error, ValueError) else ""
        return cls(name=type(error).__name__, message=message, reasons=tuple(getattr(error, "reasons", ())))


class Message(Header):
    """One message as it arrived. body: plain JSON values and arrays, not yet checked: see `parse`."""

    body: Any

    def parse(self, kind: type[T]) -> T:
        """The body as a value of that type: a dataclass, a pydantic model or plain. Raises MessageError."""
        try:
            checks: TypeAdapter[T] = _adapter(cast(Any, kind))
            return checks.validate_python(self.body)
        except ValidationError as error:
            raise MessageError(f"The body of a {self.kind} message is no {kind}: {error}") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """What checks values of a type and makes them. Made once: that costs some milliseconds."""
    return TypeAdapter(kind)


@dataclasses.dataclass(frozen=True, slots=True)
class MessageLimits:
    """The most that one message may hold, in bytes: header or body, and its arrays together; and how many of these."""

    text: int = 64 * 2**20
    arrays: int = 4 * 2**30
    count: int = 100


TRUSTED = MessageLimits()


class Channel:
    """One end of a socket that carries messages. Several threads may send, one may receive.

    timeout: seconds for which the other side may stay silent; None for ever.
    """

    def __init__(self, end: socket.socket, timeout: float | None = None, limits: MessageLimits = TRUSTED) -> None:
        self._end = end
        self._end.settimeout(timeout)
        self._limits = limits
        self._sending = threading.Lock()
        self._deadline = math.inf

    def within(self, seconds: float) -> None:
        """From now on the other side has so many seconds for all that is received, however it spreads them."""
        self._deadline = time.monotonic() + seconds

    def send(self, kind: Kind, body: object = None, number: int = 0, name: str = "") -> None:
        """Raises ChannelClosedError, and TypeError for what cannot be sent."""
        text, arrays = pack(body)
        forms = [
            {"dtype": "bytes", "shape": [len(a)]} if isinstance(a, bytes) else {"dtype": a.dtype.name, "shape": a.shape}
            for a in arrays
        ]
        header = json.dumps({"kind": kind, "number": number, "name": name, "arrays": forms}).encode()
        with self._sending, _closing():
            self._end.sendall(_LENGTHS.pack(len(header), len(text)) + header + text)
            for array in arrays:
                if isinstance(array, bytes):
                    self._end.sendall(array)
                elif array.size:
                    self._end.sendall(array.data.cast("B"))

    def receive(self) -> Message:
        """The next message. Raises ChannelClosedError."""
        with _closing():
            lengths = _LENGTHS.unpack(self._fill(bytearray(_LENGTHS.size)))
            if max(lengths) > self._limits.text:
                raise MessageError(f"A message of {max(lengths)} bytes came; at most {self._limits.text} may.")
            head, text = (bytes(self._fill(bytearray(length))) for length in lengths)
            try:
                header = Header.model_validate_json(head)
                size, count = sum(form.bytes for form in header.arrays), len(header.arrays)
                if size > self._limits.arrays or count > self._limits.count:
                    raise MessageError(f"The {count} arrays of a message are too many, or their {size} bytes.")
                arrays = [self._array(form) for form in header.arrays]
                body = json.loads(text, object_hook=lambda d: arrays[d[_ARRAY]] if d.keys() == {_ARRAY} else d)
            except (ValueError, LookupError, TypeError, RecursionError) as error:
                raise MessageError(f"A message is not in its form: {type(error).__name__}.") from None
        return Message(**dict(header), body=body)

    def waiting(self) -> bool:
        """Whether something came (or the other side went)."""
        return bool(select.select([self._end], [], [], 0)[0])

    def close(self) -> None:
        self._end.close()

    def _array(self, form: ArrayForm) -> np.ndarray | bytes:
        if form.dtype == "bytes":
            data = self._end.recv(form.bytes, socket.MSG_WAITALL)  # whole at once, unless there is a timeout
            return data + self._fill(bytearray(form.bytes - len(data))) if len(data) < form.bytes else data
        array = np.empty(form.shape, form.dtype)
        if array.size:
            self._fill(array.data.cast("B"))
        return array

    def _left(self) -> float:
        """Seconds until the deadline. Raises TimeoutError after it."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _fill(self, buffer: bytearray | memoryview) -> bytearray | memoryview:
        view, done = memoryview(buffer), 0
        while done < len(view):
            if self._deadline < math.inf:
                self._end.settimeout(self._left())
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
        raise ChannelSilentError("The other side is silent.") from error
    except OSError as error:
        raise ChannelClosedError("The other side is gone.") from error


def pack(value: object) -> tuple[bytes, list[np.ndarray | bytes]]:
    """A value as JSON, and its arrays and bytes. Dataclasses and models become objects, tuples lists, paths strings."""
    arrays: list[np.ndarray | bytes] = []

    def plain(part: Any) -> Any:
        if isinstance(part, bytes):
            arrays.append(part)
            return {_ARRAY: len(arrays) - 1}
        if isinstance(part, np.ndarray) and part.dtype.name in get_args(DType):
            arrays.append(np.asarray(part, part.dtype.newbyteorder("="), order="C"))
            return {_ARRAY: len(arrays) - 1}
        if isinstance(part, np.generic):
            return part.item()
        if isinstance(part, Path):
            return str(part)
        if isinstance(part, BaseModel):
            return dict(part)
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            return {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
        raise TypeError(f"A {type(part).__name__} cannot be sent to another process; plain values and arrays can.")

    return json.dumps(value, default=plain).encode(), arrays
