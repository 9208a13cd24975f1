"""One compressed frame to stored samples. A decoder that is unsure is not asked: contradictions are refused first."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from imagecodecs import dicomrle_decode, jpeg8_decode, jpegls_decode, jpegsof3_decode
from openjpeg.utils import decode as jpeg2000_decode
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import RLELossless

from kdlight.images.codestream import Codestream, bare, check, codestream
from kdlight.images.errors import CodecError, HeaderError, TruncatedError, UnsupportedError
from kdlight.images.frames import bit_field, layout, native_frame, used_bits
from kdlight.images.header import PixelHeader, syntax_words


@dataclass(frozen=True, slots=True)
class Decoded:
    """Stored values (rows, columns[, 3]) of one frame: only the bits that count, in the header's signedness."""

    values: np.ndarray
    photometric: str
    """As decoded: a color transform that the decoder undid is no longer in it."""
    bits: int
    """Bits per sample that the values may take."""


_JPEG = "1.2.840.10008.1.2.4."
_KINDS: dict[str, tuple[str, ...]] = {
    **{_JPEG + n: ("jpeg",) for n in ("50", "51", "52", "53", "54", "55", "56")},
    **{_JPEG + n: ("lossless",) for n in ("57", "70")},
    **{_JPEG + n: ("jpegls",) for n in ("80", "81")},
    **{_JPEG + n: ("jpeg2000",) for n in ("90", "91", "201", "202", "203")},
}
"""Which codestream each transfer syntax may hold."""
_END = b"\xff\xd9"
_FILLERS = tuple(
    b"".join(byte * 64 + bytes([0xFF, 0xD0 + (first + number) % 8]) for number in range(8))
    for byte, first in ((b"\x6b", 0), (b"\x94", 4), (b"\x2d", 0))
)
"""What might stand where a scan goes on: bytes, and all restart markers, so that a missing interval finds its own.

libjpeg takes a marker that is one or two ahead for a later interval's, hence the two orders."""
_LENIENT = ("jpeg", "lossless")
"""Codestreams whose decoders return a picture where data is missing; those of the others fail."""
_NAMES = {"jpeg": "JPEG", "lossless": "lossless JPEG", "jpegls": "JPEG-LS", "jpeg2000": "JPEG 2000"}


def decode_frame(data: bytes, header: PixelHeader, syntax: str) -> Decoded:
    """Decompress one frame. Raises CodecError, HeaderError, TruncatedError or UnsupportedError."""
    if not data:
        raise TruncatedError("The compressed frame is empty. Copy the file again.")
    if syntax in _WHOLE_WORDS:
        samples = _WHOLE_WORDS[syntax](data, header)
        return Decoded(used_bits(samples, header), full(header.photometric), header.stored)
    data = bare(data)
    stream = codestream(data)
    if stream.kind not in _KINDS[syntax]:
        raise HeaderError(f"The transfer syntax is {syntax_words(syntax)}, but the frame is {_NAMES[stream.kind]}.")
    check(stream, header)
    decoded = decode_stream(data, stream)
    if decoded.ndim == 3 and decoded.shape[0] == header.samples != decoded.shape[2]:
        decoded = decoded.transpose(1, 2, 0)
    pixels = header.rows * header.columns
    if decoded.shape[:2] != (header.rows, header.columns) or decoded.size != pixels * header.samples:
        raise CodecError(f"The {_NAMES[stream.kind]} decoder gave a picture of another size; the frame is damaged.")
    shaped = decoded.reshape(header.rows, header.columns, *([3] if header.samples == 3 else []))
    bits = min(stream.precision, header.stored)
    return Decoded(_stored_values(shaped, stream, header), _photometric(stream, header), bits)


def full(photometric: str) -> str:
    """The photometric interpretation of samples whose halved color has been shared out to every pixel.

    YBR_ICT and YBR_RCT are transforms of JPEG 2000 (PS3.3 C.7.6.3.1.2), whose decoders undo them. Outside of it they
    are what a program left standing that decompressed the pixels to RGB.
    """
    return "RGB" if photometric in ("YBR_ICT", "YBR_RCT") else photometric.removesuffix("_422")


def decode_stream(data: bytes, stream: Codestream) -> np.ndarray:
    """The picture of a codestream that is all there, as it is encoded. What follows its end marker is no part of it.

    A missing end marker is supplied, where that alone is missing. Raises TruncatedError for a picture with a hole.
    """
    if stream.end is not None:
        picture = _call_decoder(data[: stream.end], stream)
        if stream.kind not in _LENIENT or _is_determined(picture, data[: stream.end], stream):
            return picture
    elif stream.kind != "jpeg2000":
        for content in _endings(data, stream):
            with contextlib.suppress(CodecError):
                picture = _call_decoder(content, stream)
                if stream.kind not in _LENIENT or _is_determined(picture, content, stream):
                    return picture
    raise TruncatedError(f"A part of the {_NAMES[stream.kind]} frame is missing. Copy the file again.")


def _endings(data: bytes, stream: Codestream) -> Iterator[bytes]:
    """What a codestream without end marker may be: JPEG-LS may end in zeros, JPEG in none but the one after FF."""
    stripped = data.rstrip(b"\0")
    if stream.kind in _LENIENT:
        yield stripped + b"\0" * stripped.endswith(b"\xff")
        return
    for zeros in range(min(3, len(data) - len(stripped)) + 1):
        yield stripped + b"\0" * zeros


def _is_determined(picture: np.ndarray, content: bytes, stream: Codestream) -> bool:
    """Whether the data determine every pixel: then nothing that might still follow them changes one.

    These decoders paint a missing part without a word, from zero bits or whatever comes, or leave it as it lies in
    memory. A stream with an end marker is tried once, or twice if it has restarts; one without was cut somewhere,
    perhaps within its last bits: three times.
    """
    content = content.rstrip(b"\xff")
    fillers = _FILLERS[: 3 if stream.end is None else 1 + stream.restarts]
    return all(np.array_equal(picture, _call_decoder(content + filler, stream, ~picture)) for filler in fillers)


def _call_decoder(content: bytes, stream: Codestream, out: np.ndarray | None = None) -> np.ndarray:
    """`content`: the codestream without its end marker, which every decoder wants to see."""
    try:
        return np.asarray(_DECODERS[stream.kind](content + _END, out))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  each codec has its own kind; all mean the same to the reader
        raise CodecError(f"The {_NAMES[stream.kind]} frame cannot be decoded; it is damaged or cut short.") from None


def _jpeg(data: bytes, out: np.ndarray | None) -> np.ndarray:
    """Baseline, extended and progressive, 8 and 12 bits, without any color transform."""
    space = "YCBCR" if codestream(data).components == 3 else "GRAYSCALE"
    return jpeg8_decode(data, colorspace=space, outcolorspace=space, out=out)


def _lossless(data: bytes, out: np.ndarray | None) -> np.ndarray:
    """It decodes color into planes."""
    return jpegsof3_decode(data, out=out.transpose(2, 0, 1) if out is not None and out.ndim == 3 else out)


_DECODERS: dict[str, Callable[[bytes, np.ndarray | None], np.ndarray]] = {
    "jpeg": _jpeg,
    "lossless": _lossless,
    "jpegls": lambda data, out: jpegls_decode(data, out=out),
    "jpeg2000": lambda data, _: jpeg2000_decode(data),
}


def _photometric(stream: Codestream, header: PixelHeader) -> str:
    """The color space of what the decoder returned: by the stream where it says so, else by the header.

    YBR_ICT in JPEG 2000 without a component transform is luma and chroma that nobody turned back; YBR_RCT, whose
    chroma takes a sign and one bit more, cannot be.
    """
    if header.samples == 3 and stream.rgb:
        return "RGB"
    turned = header.photometric == "YBR_ICT" and stream.kind == "jpeg2000"
    if header.samples == 3 and (turned or (stream.ybr and stream.kind == "jpeg")):
        return "YBR_FULL"
    return full(header.photometric)


def _stored_values(decoded: np.ndarray, stream: Codestream, header: PixelHeader) -> np.ndarray:
    """The bits that count by the header, with the header's sign, whatever else was compressed with them.

    More bits than Bits Stored are whole words, overlays and all. Two's complement is of Bits Stored, but where a JPEG
    2000 stream is signed itself.
    """
    size = max(8, header.allocated, 8 * decoded.dtype.itemsize)
    wide = decoded.astype(np.dtype(f"{decoded.dtype.kind}{size // 8}")).view(np.dtype(f"u{size // 8}"))
    if stream.signed and not header.signed:
        wide = wide & (2**stream.precision - 1)
    if stream.precision <= header.stored:
        return bit_field(wide, header.stored, header.stored, header.signed)
    if stream.precision <= header.high:
        raise HeaderError(
            f"The header places its bits up to bit {header.high}, but the frame has {stream.precision} bits per sample."
        )
    if header.high + 1 == header.stored and not header.signed and not stream.lossless:
        return _clipped_overshoot(wide, stream, header)
    return bit_field(wide, header.high + 1, header.stored, header.signed)


def _clipped_overshoot(wide: np.ndarray, stream: Codestream, header: PixelHeader) -> np.ndarray:
    """Unsigned values of a lossy codec, which goes a little beyond the highest: masked, white would turn black.

    JPEG knows 8 and 12 bits only, and no overlay lives through it: its values are taken as they are. Elsewhere what
    lies up to an eighth above the highest value (ours) is its error, and what lies further is another's bits.
    """
    if stream.kind == "jpeg":
        return wide
    top = 2**header.stored - 1
    masked = bit_field(wide, header.stored, header.stored, False)
    return np.where((wide > top) & (wide <= top + top // 8), masked.dtype.type(top), masked)


def _rle(data: bytes, header: PixelHeader) -> np.ndarray:
    """RLE Lossless (PS3.5 annex G). What follows the last run of a segment pydicom, slow, passes over."""
    count, width = int.from_bytes(data[:4], "little"), max(1, header.allocated // 8)
    if count != header.samples * width:
        raise HeaderError(f"The RLE frame has {count} segments; {header.samples * width} were expected.")
    single = replace(header, frames=1, planar=True)
    with contextlib.suppress(Exception):
        planes = bytes(dicomrle_decode(data, f"<u{width}"))
        if len(planes) == (header.rows * header.columns * header.samples * header.allocated + 7) // 8:
            return native_frame(planes, single, 0)
    try:
        options = layout(single, "MONOCHROME2" if header.samples == 1 else "RGB")
        samples: np.ndarray = get_decoder(RLELossless).as_array(encapsulate([data]), index=0, raw=True, **options)[0]
        return samples
    except Exception:  # noqa: BLE001  NotImplementedError, ValueError, RuntimeError, ...
        raise TruncatedError("The RLE frame is damaged or a part of it is missing. Copy the file again.") from None


def _deflated(data: bytes, header: PixelHeader) -> np.ndarray:
    """Deflated Image Frame Compression (PS3.5 A.4.13): the frame's own bytes, deflated."""
    if header.allocated not in (1, 8) or header.samples != 1:
        raise UnsupportedError("Deflated image frames are read for 1 and 8 bits of gray only.")
    try:
        frame = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, header.rows * header.columns)
    except zlib.error:
        raise CodecError("The deflated frame is damaged and cannot be inflated.") from None
    return native_frame(frame, replace(header, frames=1), 0)


_WHOLE_WORDS: dict[str, Callable[[bytes, PixelHeader], np.ndarray]] = {
    RLELossless: _rle,
    "1.2.840.10008.1.2.8.1": _deflated,
    "1.2.840.10008.1.2.1.98": lambda data, header: native_frame(data, replace(header, frames=1), 0),
}
"""Frames whose samples are stored as whole words, as uncompressed ones are; the last is that, in fragments."""
SYNTAXES = {*_KINDS, *_WHOLE_WORDS}
"""Transfer syntaxes of compressed pixel data that are read."""
