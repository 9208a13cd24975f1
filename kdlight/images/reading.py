"""From a path or bytes to an Image, and how the files of folders are read, as a table."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kdlight.contracts.image import Image
from kdlight.images.errors import EmptyError, ImageError, MissingError, TooBigError
from kdlight.images.limits import LIMITS
from kdlight.images.sandbox import SANDBOX, Decoder
from kdlight.images.sniff import refusal, sniff
from kdlight.images.turns import NOBODY
from kdlight.processes.confine import Guard

Source = Path | str | bytes | bytearray | memoryview
"""A path, or the bytes of a file."""
_HEAD = 512


def read(source: Source, frame: int = 0, decoder: Decoder | None = None, session: str = NOBODY) -> Image:
    """One frame of an image file, decoded in a child process that may die without harm.

    `frame` counts from 0; only that frame is decoded. decoder: one of `open_decoders`, for many files in a row.
    session: who asks, where one process serves several persons: the files of one wait for each other, not for those of
    others. Raises ImageError (a ValueError) whose message says in one sentence why the file is refused, and whose
    `reason` says it in a word. No message holds a name or a path.
    """
    data = _load(Path(source)) if isinstance(source, Path | str) else bytes(source)
    if not data:
        raise EmptyError("The file is empty: it holds no bytes. Copy it again.")
    if len(data) > LIMITS.bytes:
        raise TooBigError(f"The file is larger than {LIMITS.bytes // 1024**2} MB, the limit for one file.")
    if sniff(data[:_HEAD]) is None:
        raise refusal(data[:_HEAD])
    return decoder.decode(data, frame) if decoder else SANDBOX.decode(data, frame, session)


def read_of_set(data: bytes, frame: int = 0) -> Image:
    """As `read`, of one of a set's many files: the decoding processes go from file to file until `recall`."""
    with SANDBOX.lend() as decoder:
        return read(data, frame, decoder)


def frames_of_set(data: bytes) -> int:
    """How many pictures one of a set's files holds by its headers. Raises ImageError where they cannot be read."""
    with SANDBOX.lend() as decoder:
        return decoder.count(data)


def recall() -> None:
    """End the processes that decoded the files of a set and wait for more."""
    SANDBOX.recall()


def open_decoders(count: int) -> list[Decoder]:
    """For `count` threads that read many files each; every one is used by a single thread at a time, and closed."""
    return [Decoder(SANDBOX) for _ in range(count)]


def guard() -> Guard:
    """What keeps a decoding process from doing anything else on this machine. Raises CrashError where none starts."""
    return SANDBOX.guard


def warm() -> None:
    """Start the decoding helper in the background, so that the first read is as quick as the later ones."""
    SANDBOX.start()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one file is read. `reason` is empty where it was; `words` say what it is, or why it was refused."""

    file: str
    read: bool
    reason: str
    words: str
    seconds: float


def outcomes(paths: Iterable[Path | str]) -> list[Outcome]:
    """How each file is read. Folders are walked in name order."""
    rows = []
    for path in map(Path, paths):
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        rows += [_outcome(p, path if path.is_dir() else path.parent) for p in inside]
    return rows


def render(rows: list[Outcome]) -> str:
    """The rows as text, then the counts."""
    lines = [f"{row.reason or 'read':<13} {row.seconds:6.3f} s  {row.file}: {row.words}" for row in rows]
    count = sum(row.read for row in rows)
    return "\n".join([*lines, f"{len(rows)} files: {count} read, {len(rows) - count} refused"])


def _outcome(path: Path, root: Path) -> Outcome:
    start, reason = time.perf_counter(), ""
    try:
        words = summary(read(path))
    except ImageError as error:
        reason, words = error.reason, str(error)
    seconds = round(time.perf_counter() - start, 4)
    return Outcome(path.relative_to(root).as_posix(), not reason, reason, words, seconds)


def summary(image: Image) -> str:
    """One line for people: `DICOM, CT, 512 x 512, 12 bit, MONOCHROME2, frame 1/20, RLE Lossless`."""
    rows, columns = image.shape
    parts = [
        image.format.upper(),
        image.modality or "modality not given",
        f"{columns} x {rows}",
        f"{image.bits} bit",
        image.photometric,
        f"frame {image.frame + 1}/{image.frames}" if image.frames > 1 else "",
        image.units,
        image.transfer_syntax or "",
    ]
    return ", ".join(part for part in parts if part)


def _load(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LIMITS.bytes + 1)
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
