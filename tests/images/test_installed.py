"""Every file that pydicom installs is read, or refused for its true reason; and the pixels are compared."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from kdlight.images import read
from kdlight.images.reading import outcomes, render

REFUSED = {
    "ExplVR_BigEndNoMeta.dcm": ("no-pixels", "RT Ion Plan"),
    "ExplVR_LitEndNoMeta.dcm": ("no-pixels", "RT Ion Plan"),
    "JPEG2000-embedded-sequence-delimiter.dcm": ("header", "header says 256 x 1024"),
    "MR_truncated.dcm": ("truncated", "8130 bytes long; the header describes 8192"),
    "README.txt": ("not-an-image", "text"),
    "UN_sequence.dcm": ("no-pixels", "without pixel data"),
    "badVR.dcm": ("header", "Number Of Frames in the header is not a number"),
    "crayons.icc": ("not-an-image", "no image format"),
    "empty_charset_LEI.dcm": ("no-pixels", "without pixel data"),
    "meta_missing_tsyntax.dcm": ("header", "does not say Rows"),
    "nested_priv_SQ.dcm": ("header", "does not say Rows"),
    "no_meta.dcm": ("header", "stray bytes"),
    "no_meta_group_length.dcm": ("no-pixels", "without pixel data"),
    "priv_SQ.dcm": ("no-pixels", "without pixel data"),
    "reportsi.dcm": ("no-pixels", "Basic Text SR"),
    "reportsi_with_empty_number_tags.dcm": ("no-pixels", "Basic Text SR"),
    "rtplan.dcm": ("no-pixels", "RT Plan"),
    "rtplan.dump": ("not-an-image", "text"),
    "rtplan_truncated.dcm": ("truncated", "truncated"),
    "rtstruct.dcm": ("no-pixels", "RT Structure Set"),
    "rtstruct.dump": ("not-an-image", "text"),
    "test-SR.dcm": ("no-pixels", "Comprehensive SR"),
    "test1.json": ("not-an-image", "text"),
    "test_PN.json": ("not-an-image", "text"),
    "waveform_ecg.dcm": ("no-pixels", "12-lead ECG Waveform"),
    "zipMR.gz": ("not-an-image", "gzip"),
}
UNREAD_BY_PYDICOM = ("JPEG-lossy.dcm", "JPGExtended.dcm", "SC_rgb_jpeg_gdcm.dcm")
"""12-bit and lossless JPEG: pydicom has no decoder for them among the ones allowed here."""


def test_every_installed_file_is_read_or_refused_for_its_reason(installed: Path) -> None:
    files = sorted(p for p in installed.iterdir() if p.is_file())
    rows = outcomes(files)
    told = {r.file: (r.reason, r.words) for r in rows if not r.read}
    assert {name: reason for name, (reason, _) in told.items()} == {n: r for n, (r, _) in REFUSED.items()}
    assert [name for name, (_, words) in REFUSED.items() if words not in told[name][1]] == []
    assert len(rows) == len(files) > 70
    assert render(rows).endswith(f"{len(rows)} files: {len(rows) - len(REFUSED)} read, {len(REFUSED)} refused")


@pytest.mark.parametrize("folder", ["palettes", "charset_files", "dicomdirtests"])
def test_files_of_other_kinds_never_crash(installed: Path, folder: str) -> None:
    place = installed / folder if folder == "dicomdirtests" else installed.parent / folder
    rows = outcomes([place])
    assert rows
    assert all(r.reason in ("no-pixels", "not-an-image", "header", "") for r in rows)


def names() -> list[str]:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    return sorted(p.name for p in folder.glob("*.dcm") if p.name not in REFUSED)


@pytest.mark.parametrize("name", names())
def test_pixels_equal_those_of_pydicom(installed: Path, name: str) -> None:
    image = read(installed / name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(installed / name)
        try:
            stored = pydicom.pixels.pixel_array(ds, index=0)
        except (RuntimeError, NotImplementedError):
            assert name in UNREAD_BY_PYDICOM
            return
        if ds.PhotometricInterpretation == "PALETTE COLOR":
            stored = pydicom.pixels.apply_color_lut(stored, ds)
        if image.color and stored.dtype.itemsize > 1:
            stored = np.rint(stored * (255 / (2 ** (8 * stored.dtype.itemsize) - 1)))
        if not image.color:
            stored = pydicom.pixels.apply_modality_lut(stored, ds)
    assert np.abs(stored.astype(np.float64) - image.pixels).max() == 0


SAME = [
    ("MR_small.dcm", "MR_small_RLE.dcm", 0),
    ("MR_small.dcm", "MR_small_bigendian.dcm", 0),
    ("MR_small.dcm", "MR_small_expb.dcm", 0),
    ("MR_small.dcm", "MR_small_implicit.dcm", 0),
    ("MR_small.dcm", "MR_small_jp2klossless.dcm", 0),
    ("MR_small.dcm", "MR_small_jpeg_ls_lossless.dcm", 0),
    ("MR_small.dcm", "MR_small_padded.dcm", 0),
    ("JPEG-lossy.dcm", "JPGExtended.dcm", 0),
    ("SC_rgb_rle.dcm", "SC_rgb_jpeg_gdcm.dcm", 0),
    ("SC_rgb_rle.dcm", "SC_rgb_rle_16bit.dcm", 0),
    ("SC_rgb_rle.dcm", "SC_rgb_rle_32bit.dcm", 0),
    ("SC_rgb_rle.dcm", "SC_rgb_gdcm_KY.dcm", 0),
    ("SC_rgb_rle.dcm", "SC_rgb_jpeg_dcmtk.dcm", 6),
    ("SC_rgb_rle.dcm", "SC_ybr_full_422_uncompressed.dcm", 6),
    ("SC_rgb_rle.dcm", "SC_rgb_jls_lossy_line.dcm", 2),
    ("SC_rgb_rle.dcm", "SC_rgb_jls_lossy_sample.dcm", 2),
    ("SC_rgb_jpeg.dcm", "SC_rgb_jpeg_dcmd.dcm", 0),
    ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm", 0),
    ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_jpeg.dcm", 4),
    ("rtdose_1frame.dcm", "rtdose_expb_1frame.dcm", 0),
    ("rtdose_1frame.dcm", "rtdose_rle_1frame.dcm", 0),
    ("liver_1frame.dcm", "liver_expb_1frame.dcm", 0),
]


@pytest.mark.parametrize(("one", "other", "tolerance"), SAME)
def test_the_same_picture_in_another_syntax_has_the_same_pixels(
    installed: Path, one: str, other: str, tolerance: int
) -> None:
    difference = read(installed / one).pixels.astype(float) - read(installed / other).pixels
    assert np.abs(difference).max() <= tolerance


def test_frames_of_compressed_files(installed: Path) -> None:
    first, last = (read(installed / "rtdose.dcm", i).pixels for i in (0, 14))
    assert not np.array_equal(first, last)
    assert np.array_equal(read(installed / "rtdose_rle.dcm", 14).pixels, last)
    inverse = read(installed / "SC_rgb_rle_2frame.dcm", 1).pixels
    assert np.array_equal(255 - inverse, read(installed / "SC_rgb_rle_2frame.dcm").pixels)
    assert read(installed / "examples_ybr_color.dcm", 29).frames == 30


def test_the_table_has_a_line_for_each_file_and_one_with_the_counts(installed: Path) -> None:
    first, second, counts = render(outcomes([installed / "CT_small.dcm", installed / "test1.json"])).splitlines()
    assert first.startswith("read ")
    assert "CT_small.dcm: DICOM, ct, 128 x 128, 16 bit, MONOCHROME2, HU" in first
    assert second.startswith("not-an-image ")
    assert counts == "2 files: 1 read, 1 refused"
