"""Why a file was refused: one class per reason. No message carries free text of a header or of a file name."""

from __future__ import annotations


class ImageError(ValueError):
    """A file that was not read. The message is one sentence for people; `reason` is the same in one word."""

    reason = "image"


class MissingError(ImageError):
    """The path does not lead to a file that can be opened."""

    reason = "missing"


class EmptyError(ImageError):
    """No bytes."""

    reason = "empty"


class NotAnImageError(ImageError):
    """The content is something else: text, an archive, a document."""

    reason = "not-an-image"


class NoPixelsError(ImageError):
    """DICOM without pixel data: a report, a plan, a waveform."""

    reason = "no-pixels"


class TruncatedError(ImageError):
    """The file ends before its content does."""

    reason = "truncated"


class EncryptedError(ImageError):
    """The content is encrypted."""

    reason = "encrypted"


class UnsupportedError(ImageError):
    """A valid file in a form that no decoder here reads."""

    reason = "unsupported"


class HeaderError(ImageError):
    """A header that is missing what the picture needs, or contradicts the pixel data."""

    reason = "header"


class CodecError(ImageError):
    """The compressed data cannot be decoded."""

    reason = "codec"


class TooBigError(ImageError):
    """More bytes, pixels, memory or nesting than the limits allow."""

    reason = "too-big"


class TimeLimitError(ImageError):
    """Decoding was stopped after the time limit."""

    reason = "time"


class CrashError(ImageError):
    """The decoding process died."""

    reason = "crash"


class FrameError(ImageError):
    """The file has no such frame."""

    reason = "frame"


ERRORS: dict[str, type[ImageError]] = {
    e.__name__: e
    for e in (
        ImageError,
        MissingError,
        EmptyError,
        NotAnImageError,
        NoPixelsError,
        TruncatedError,
        EncryptedError,
        UnsupportedError,
        HeaderError,
        CodecError,
        TooBigError,
        TimeLimitError,
        CrashError,
        FrameError,
    )
}
