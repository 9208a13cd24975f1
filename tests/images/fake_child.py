"""A child that answers what a test says, over a real channel, and has no process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kdlight.contracts.image import Image
from kdlight.contracts.modality import Window
from kdlight.images.sandbox import Sandbox
from kdlight.processes import Channel
from kdlight.processes.forks import Fork
from kdlight.processes.message import pack

GRAY = Image(
    pixels=np.arange(6, dtype=np.float32).reshape(2, 3),
    sha256="",
    format="dicom",
    bits=8,
    windows=(Window(1, 2, "file"),),
    voi_lut=np.arange(4, dtype=np.uint8),
    frames=3,
    spacing=(0.5, 0.5),
    removed=("PatientName",),
)
Answer = Callable[[socket.socket], None]


def wire(header: dict[str, Any], body: Any, arrays: bytes = b"") -> bytes:
    """A message as it crosses. body: JSON values, NaN and infinities too."""
    head, text = json.dumps(header).encode(), json.dumps(body).encode()
    return struct.pack("<II", len(head), len(text)) + head + text + arrays


def parts(image: Image = GRAY, kind: str = "result") -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Header, body and array bytes of an honest answer, to be spoiled."""
    text, arrays = pack(image)
    forms = [{"dtype": a.dtype.name, "shape": list(a.shape)} for a in arrays if isinstance(a, np.ndarray)]
    raw = b"".join(a.tobytes() for a in arrays if isinstance(a, np.ndarray))
    return {"kind": kind, "number": 0, "name": "", "arrays": forms}, json.loads(text), raw


@contextlib.contextmanager
def child(sandbox: Sandbox, answer: Answer) -> Iterator[Fork]:
    """One that reads a request and then answers with these bytes."""
    mine, theirs = socket.socketpair()
    report, write = os.pipe()
    os.write(write, struct.pack("<i", 0))  # it has ended, so that nothing is killed

    def act() -> None:
        with theirs, contextlib.suppress(OSError):
            Channel(theirs).receive()
            answer(theirs)

    acting = threading.Thread(target=act)
    acting.start()
    fork = Fork(Channel(mine, 5.0, sandbox.message_limits), os.fdopen(report, "rb"), 1 << 22, "limits")
    try:
        yield fork
    finally:
        fork.close()
        os.close(write)
        acting.join()
