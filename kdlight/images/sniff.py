"""What a file is, by its content. Names and endings are never looked at."""

from __future__ import annotations

import re
import struct

from kdlight.images.errors import EncryptedError, HeaderError, ImageError, NotAnImageError, UnsupportedError

VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
"""Value representations of DICOM PS3.5 table 6.2-1, as they stand in an explicit header."""

_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_UNPACK = "unpack it and give the images inside"
_OTHERS: tuple[tuple[bytes, str, type[ImageError]], ...] = (
    (b"GIF8", "a GIF", UnsupportedError),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture outside DICOM", UnsupportedError),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 codestream outside DICOM", UnsupportedError),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture", UnsupportedError),
    (b"\xff\x0a", "a JPEG XL picture", UnsupportedError),
    (b"II\xbc\x01", "a JPEG XR picture", UnsupportedError),
    (b"8BPS", "a Photoshop document", UnsupportedError),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture", UnsupportedError),
    (b"ObjectType = Image", "a MetaImage volume", UnsupportedError),
    (b"NRRD", "an NRRD volume", UnsupportedError),
    (b"SIMPLE  =", "a FITS file", UnsupportedError),
    (b"PK\x03\x04", f"a zip archive; {_UNPACK}", NotAnImageError),
    (b"\x1f\x8b", "a gzip archive; unpack it and give the image inside", NotAnImageError),
    (b"BZh", "a bzip2 archive; unpack it and give the image inside", NotAnImageError),
    (b"\xfd7zXZ\0", "an xz archive; unpack it and give the image inside", NotAnImageError),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive; unpack it and give the image inside", NotAnImageError),
    (b"7z\xbc\xaf", f"a 7-Zip archive; {_UNPACK}", NotAnImageError),
    (b"Rar!", f"a RAR archive; {_UNPACK}", NotAnImageError),
    (b"%PDF", "a PDF document", NotAnImageError),
    (b"%!PS", "a PostScript document", NotAnImageError),
    (b"\x93NUMPY", "a NumPy array", NotAnImageError),
    (b"\x89HDF", "an HDF5 file", NotAnImageError),
    (b"\x7fELF", "a program", NotAnImageError),
    (b"MZ", "a program", NotAnImageError),
)
_NETPBM = re.compile(rb"P[4-7]\s+[\d#W]")
_SECRET = (b"-----BEGIN PGP", b"Salted__", b"age-encryption.org")
_ENVELOPED = bytes.fromhex("06092a864886f70d010703")
"""The object identifier of CMS enveloped data, with which DICOM PS3.15 encrypts whole files."""


def sniff(head: bytes) -> str | None:
    """dicom, png, jpeg, tiff, bmp or webp from the first 132 bytes or more; None for anything else."""
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and len(head) >= 18 and struct.unpack_from("<I", head, 14)[0] in _BMP_HEADERS:
        return "bmp"
    return "dicom" if _bare_dicom(head) else None


def refusal(head: bytes) -> ImageError:
    """The reason why a file that `sniff` does not know is refused."""
    if head.startswith(_SECRET) or (head[:1] == b"\x30" and _ENVELOPED in head[:64]):
        return EncryptedError("The file is encrypted. Decrypt it and give the image inside.")
    for magic, words, kind in _OTHERS:
        if head.startswith(magic):
            return kind(f"The file is {words}. DICOM, PNG, JPEG, TIFF, BMP or WebP was expected.")
    if _NETPBM.match(head) and not _is_text(head):
        return UnsupportedError("The file is a Netpbm picture. Save it as PNG and try again.")
    if head[4:8] == b"ftyp":
        return UnsupportedError("The file is HEIF, AVIF or video. Save it as PNG or JPEG and try again.")
    if head[344:348] in (b"n+1\0", b"ni1\0"):
        return UnsupportedError("The file is a NIfTI volume. Export its slices as DICOM or PNG and try again.")
    if any(_bare_dicom(head[n:]) and head[n + 4 : n + 6] in VRS for n in range(1, 9)):
        return HeaderError("The file is DICOM with stray bytes where it should begin; it is damaged. Export it again.")
    if not any(head[:132]):
        return NotAnImageError("The file begins with zeros only and is no image; it may be damaged. Copy it again.")
    what = "text" if _is_text(head) else "no image format that is known here"
    return NotAnImageError(f"The file is {what}. DICOM, PNG, JPEG, TIFF, BMP or WebP was expected.")


def _bare_dicom(head: bytes) -> bool:
    """DICOM without the preamble: the first element is of group 2 or 8, with a header that makes sense."""
    if len(head) < 16 or head[:2] not in (b"\x02\0", b"\0\x02", b"\x08\0", b"\0\x08"):
        return False
    order = "<" if head[1] == 0 else ">"
    element, length = struct.unpack_from(order + "2xHI", head)
    return element <= 0x2000 and (head[4:6] in VRS or length <= 1024)


def _is_text(head: bytes) -> bool:
    try:
        words = head[:-4].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\r\n\t\f" for c in words)
