"""Why a file was refused: one class per reason. No message carries free text of a header or of a file name."""

from __future__ import annotations

from typing import ClassVar

ERRORS: dict[str, type[ImageError]] = {}
"""Every class by its name."""


class ImageError(ValueError):
    """A file that was not read. The message is one sentence for people; `reason` is the same in one word."""

    reason: ClassVar[str] = "image"

    def __init_subclass__(cls, reason: str) -> None:
        cls.reason = reason
        ERRORS[cls.__name__] = cls


class MissingError(ImageError, reason="missing"):
    """The path does not lead to a file that can be opened."""


class EmptyError(ImageError, reason="empty"):
    """No bytes."""


class NotAnImageError(ImageError, reason="not-an-image"):
    """The content is something else: text, an archive, a document."""


class NoPixelsError(ImageError, reason="no-pixels"):
    """DICOM without pixel data: a report, a plan, a waveform."""


class TruncatedError(ImageError, reason="truncated"):
    """The file ends before its content does."""


class EncryptedError(ImageError, reason="encrypted"):
    """The content is encrypted."""


class UnsupportedError(ImageError, reason="unsupported"):
    """A valid file in a form that no decoder here reads."""


class HeaderError(ImageError, reason="header"):
    """A header that is missing what the picture needs, or contradicts the pixel data."""


class CodecError(ImageError, reason="codec"):
    """The compressed data cannot be decoded."""


class TooBigError(ImageError, reason="too-big"):
    """More bytes, pixels, memory or nesting than the limits allow."""


class TimeLimitError(ImageError, reason="time"):
    """Decoding was stopped after the time limit."""


class CrashError(ImageError, reason="crash"):
    """The decoding process died."""


class FrameError(ImageError, reason="frame"):
    """The file has no such frame."""
