"""From a path or bytes to an Image."""

from __future__ import annotations

from pathlib import Path

from kdlight.images.errors import EmptyError, MissingError, TooBigError
from kdlight.images.image import Image
from kdlight.images.limits import LIMITS
from kdlight.images.sandbox import SANDBOX, Decoder
from kdlight.images.sniff import refusal, sniff

Source = Path | str | bytes | bytearray | memoryview
"""A path, or the bytes of a file."""
_HEAD = 512


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
