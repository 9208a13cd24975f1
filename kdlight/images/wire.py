"""How an image, or the reason for none, crosses from the decoding child: JSON and raw bytes, never a pickle."""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from kdlight.images.errors import ERRORS, CrashError, ImageError
from kdlight.images.image import Image
from kdlight.images.limits import LIMITS
from kdlight.modality import Window

REQUEST = struct.Struct("<qQ")
"""Frame index, number of bytes that follow."""
_LENGTH = struct.Struct("<I")
_HEADER_LIMIT = 1 << 20
_DTYPES = ("float32", "uint8")
_ARRAYS = ("pixels", "voi_lut")


def send_image(channel: socket.socket, image: Image) -> None:
    """One image: its fields as JSON, then the bytes of its arrays."""
    values = {f.name: getattr(image, f.name) for f in fields(image) if f.name not in _ARRAYS}
    values["windows"] = [asdict(w) for w in image.windows]
    arrays = [np.ascontiguousarray(a) for a in (image.pixels, image.voi_lut) if a is not None]
    shapes = [{"dtype": a.dtype.name, "shape": a.shape} for a in arrays]
    _send_json(channel, {"image": values, "arrays": shapes})
    for array in arrays:
        channel.sendall(array.data)


def send_error(channel: socket.socket, error: ImageError) -> None:
    _send_json(channel, {"error": type(error).__name__, "message": str(error)})


def receive_image(channel: socket.socket, sha256: str) -> Image:
    """The image that the child sent. Raises the child's ImageError, or EOFError where it said nothing."""
    (length,) = _LENGTH.unpack(_receive(channel, bytearray(_LENGTH.size)))
    if length > _HEADER_LIMIT:
        raise CrashError("The decoding process gave an answer that makes no sense. Try again with another file.")
    answer = json.loads(bytes(_receive(channel, bytearray(length))))
    if "error" in answer:
        raise ERRORS.get(answer["error"], ImageError)(answer["message"])
    arrays = [_receive_array(channel, **a) for a in answer["arrays"]]
    return _image(answer["image"], arrays, sha256)


def _image(values: dict[str, Any], arrays: list[np.ndarray], sha256: str) -> Image:
    lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
    windows = tuple(Window(**w) for w in values["windows"])
    voi_lut = arrays[1] if len(arrays) > 1 else None
    known = {**values, **lists, "windows": windows, "sha256": sha256}
    return Image(pixels=arrays[0], voi_lut=voi_lut, **known)


def _receive_array(channel: socket.socket, dtype: str, shape: list[int]) -> np.ndarray:
    if dtype not in _DTYPES or len(shape) > 3 or int(np.prod(shape)) > 3 * LIMITS.pixels:
        raise CrashError("The decoding process gave an answer that makes no sense. Try again with another file.")
    array = np.empty(shape, dtype)
    _receive(channel, array.data.cast("B") if array.size else bytearray())
    return array


def _receive(channel: socket.socket, buffer: bytearray | memoryview) -> bytearray | memoryview:
    """Fill the buffer. Raises EOFError where the other side closed first."""
    view, done = memoryview(buffer), 0
    while done < len(view):
        count = channel.recv_into(view[done:])
        if count == 0:
            raise EOFError
        done += count
    return buffer


def receive_request(channel: socket.socket) -> tuple[bytes, int] | None:
    """In the child: the bytes of the next file and the frame asked for; None where the owner asks no more."""
    try:
        frame, length = REQUEST.unpack(_receive(channel, bytearray(REQUEST.size)))
        return bytes(_receive(channel, bytearray(length))), frame
    except (EOFError, ConnectionResetError):
        return None


def _send_json(channel: socket.socket, values: dict[str, Any]) -> None:
    text = json.dumps(values).encode()
    channel.sendall(_LENGTH.pack(len(text)) + text)
