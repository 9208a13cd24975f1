"""Types by content: real files of every kind, and things that are none."""

import gzip
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdlight.images import read, sniff
from kdlight.images.errors import EncryptedError, HeaderError, ImageError, NotAnImageError, UnsupportedError


def saved(format_: str) -> bytes:
    buffer = BytesIO()
    PIL.Image.fromarray(np.zeros((4, 4), np.uint8)).save(buffer, format_)
    return buffer.getvalue()


@pytest.mark.parametrize("format_", ["png", "jpeg", "tiff", "bmp", "webp"])
def test_pictures_are_told_by_their_first_bytes(format_: str) -> None:
    assert sniff(saved(format_)) == format_


@pytest.mark.parametrize("name", ["CT_small.dcm", "rtstruct.dcm", "ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm"])
def test_dicom_is_told_with_and_without_its_preamble(installed: Path, name: str) -> None:
    assert sniff((installed / name).read_bytes()[:512]) == "dicom"


def test_dicom_whose_preamble_is_a_tiff_header_is_dicom(installed: Path) -> None:
    data = (installed / "CT_small.dcm").read_bytes()
    dual = b"II*\0" + data[4:]
    assert sniff(dual) == "dicom"
    assert np.array_equal(read(dual).pixels, read(data).pixels)


def archive() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.txt", "a")
    return buffer.getvalue()


ENVELOPED = bytes.fromhex("3080") + bytes.fromhex("06092a864886f70d010703") + bytes(200)


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (archive(), NotAnImageError, "zip archive"),
        (gzip.compress(b"a" * 500), NotAnImageError, "gzip archive"),
        (b"%PDF-1.7\n" + bytes(100), NotAnImageError, "PDF"),
        (b"GIF89a" + bytes(100), UnsupportedError, "GIF"),
        (b"\xff\x0a" + bytes(100), UnsupportedError, "JPEG XL"),
        (b"P5\n4 4\n255\n" + bytes(16), UnsupportedError, "Netpbm"),
        (b"ObjectType = Image\nNDims = 3\n", UnsupportedError, "MetaImage"),
        (b"8BPS" + bytes(100), UnsupportedError, "Photoshop"),
        (b"BZh91AY" + bytes(100), NotAnImageError, "bzip2 archive"),
        (b"\0\0\0\x1cftypheic" + bytes(100), UnsupportedError, "HEIF"),
        (b"BM: a letter that begins like a bitmap, with enough words in it", NotAnImageError, "text"),
        ("patient,age\nMüller,44\n".encode() * 20, NotAnImageError, "text"),
        (bytes(600), NotAnImageError, "zeros only"),
        (b"-----BEGIN PGP MESSAGE-----\n" + bytes(100), EncryptedError, "encrypted"),
        (b"Salted__" + bytes(range(200)), EncryptedError, "encrypted"),
        (ENVELOPED, EncryptedError, "encrypted"),
    ],
)
def test_other_files_are_refused_by_what_they_are(data: bytes, kind: type[ImageError], words: str) -> None:
    with pytest.raises(kind, match=words):
        read(data)


def test_dicom_behind_stray_bytes_is_called_damaged(installed: Path) -> None:
    with pytest.raises(HeaderError, match="stray bytes"):
        read((installed / "no_meta.dcm").read_bytes())


@given(st.binary(max_size=300))
def test_any_bytes_are_sniffed_without_an_error(data: bytes) -> None:
    assert sniff(data) in {"dicom", "png", "jpeg", "tiff", "bmp", "webp", None}
