"""From a path or bytes to an Image, and what may be said of it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from kdlight.images.errors import EmptyError, ImageError, MissingError, TooBigError
from kdlight.images.image import Image
from kdlight.images.limits import LIMITS
from kdlight.images.sandbox import SANDBOX, Decoder
from kdlight.images.sniff import refusal, sniff

Source = Path | str | bytes | bytearray | memoryview
"""A path, or the bytes of a file."""
Facts = dict[str, Any]
"""Facts of an image by their name: texts, numbers, booleans and lists of them."""
_HEAD = 512
_JSON = TypeAdapter(Facts)
_ARRAYS = ("pixels", "voi_lut", "voi_first")


def read(source: Source, frame: int = 0, decoder: Decoder | None = None) -> Image:
    """One frame of an image file, decoded in a child process that may die without harm.

    `frame` counts from 0; only that frame is decoded. decoder: one of `open_decoders`, for many files in a row. Raises
    ImageError (a ValueError) whose message says in one sentence why the file is refused, and whose `reason` says it in
    a word. No message holds a name or a path.
    """
    data = _load(Path(source)) if isinstance(source, Path | str) else bytes(source)
    if not data:
        raise EmptyError("The file is empty: it holds no bytes. Copy it again.")
    if len(data) > LIMITS.bytes:
        raise _too_long()
    if sniff(data[:_HEAD]) is None:
        raise refusal(data[:_HEAD])
    return (decoder or SANDBOX).decode(data, frame)


def open_decoders(count: int) -> list[Decoder]:
    """For `count` threads that read many files each; every one is used by a single thread at a time, and closed."""
    return [Decoder(SANDBOX) for _ in range(count)]


def warm() -> None:
    """Start the decoding helper in the background, so that the first read is as quick as the later ones."""
    SANDBOX.start()


def facts(image: Image) -> Facts:
    """What may be told of an image: JSON-ready, and nothing that names a person, a place or a time."""
    rows, columns = image.shape
    values = {f.name: getattr(image, f.name) for f in fields(image) if f.name not in _ARRAYS}
    values |= {"rows": rows, "columns": columns, "color": image.color, "voi_lut": image.voi_lut is not None}
    ready: Facts = _JSON.dump_python(values, mode="json")
    return ready


def report(source: Source, frame: int = 0) -> Facts:
    """How a file is read, or why it is refused: `{"read": true, facts...}` or `{"read": false, reason, message}`."""
    try:
        return {"schema": "kdlight.inspect/1", "read": True, **facts(read(source, frame))}
    except ImageError as error:
        return {"schema": "kdlight.inspect/1", "read": False, "reason": error.reason, "message": str(error)}


def _load(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LIMITS.bytes + 1)
    except IsADirectoryError:
        raise MissingError("The path is a folder; one image file was expected.") from None
    except PermissionError:
        raise MissingError(
            "The file is there, but you may not read it; change its permissions or take a copy of it."
        ) from None
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise MissingError("The file does not exist; one was expected. Check its name and folder.") from None
    except OSError as error:
        raise MissingError(f"The file cannot be opened ({error.strerror}); take a copy of it.") from None
    return data


def _too_long() -> TooBigError:
    return TooBigError(f"The file is larger than {LIMITS.bytes // 1024**2} MB, the limit for one file.")
