"""Rendering a set and keeping it."""

import logging
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import pytest

from kdlight import images, storage
from kdlight.data import DataError, open_dataset, pixels
from kdlight.data.files import frame_count
from kdlight.images.sandbox import SANDBOX
from kdlight.preprocessing import InputSpec

Put = Callable[..., Path]
SPEC = InputSpec(32)
INSTALLED = Path(pydicom.__file__).parent / "data" / "test_files"


def test_every_image_is_what_the_spec_renders_of_a_sandboxed_read(put: Put) -> None:
    folder = put("a/gray.png", "a/gray.jpg")
    rng = np.random.default_rng(0)
    rgb = PIL.Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    rgb.save(folder / "a" / "color.jpg", exif=turned)
    rgb.convert("P").save(folder / "a" / "palette.png")
    rgb.convert("RGBA").save(folder / "a" / "alpha.png")
    rgb.save(folder / "a" / "color.webp", lossless=True)
    PIL.Image.fromarray(rng.integers(0, 60_000, (9, 9), dtype=np.uint16)).save(folder / "a" / "deep.png")
    found = open_dataset(folder)
    expected = np.stack([SPEC.render(images.read(folder / item.ref)) for item in found.items])
    np.testing.assert_array_equal(found.images(SPEC), expected)


def test_the_second_time_comes_from_the_cache_and_reports_progress(put: Put, cache: Path) -> None:
    found = open_dataset(put("a/1.png", "b/2.png"))
    first = found.images(SPEC)
    (kept,) = cache.iterdir()
    assert kept.read_bytes().endswith(first.tobytes())
    calls: list[tuple[int, int]] = []
    np.testing.assert_array_equal(found.images(SPEC, progress=lambda done, total: calls.append((done, total))), first)
    assert calls == [(2, 2)]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_cache_is_seen_and_never_used(
    put: Put, cache: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = open_dataset(put("a/1.png", "b/2.png"))
    first = found.images(SPEC)
    (kept,) = cache.iterdir()
    data = bytearray(kept.read_bytes())
    data[-100] ^= 1
    kept.write_bytes({"flip": bytes(data), "cut": bytes(data[:-5]), "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(found.images(SPEC), first)
    assert "damaged" in caplog.text
    caplog.clear()
    np.testing.assert_array_equal(found.images(SPEC), first)
    assert not caplog.text


def test_a_changed_file_or_spec_is_rendered_anew(put: Put, cache: Path) -> None:
    folder = put("a/1.png", "b/2.png")
    found = open_dataset(folder)
    assert found.images(SPEC)[0].max() == 10
    put("a/1.png", shade=200)
    assert found.images(SPEC)[0].min() == 200
    found.images(InputSpec(32, fit="pad"))
    found.split("all").images(SPEC)
    assert len(list(cache.iterdir())) == 3


def test_without_the_cache_nothing_is_written(put: Put, cache: Path) -> None:
    open_dataset(put("a/1.png")).images(SPEC, cache=False)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_costs_only_time(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path / "file"))
    assert open_dataset(put("a/1.png")).images(SPEC).shape == (1, 32, 32, 3)
    assert "could be kept" in caplog.text


def test_a_full_disk_leaves_no_half_file(put: Put, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    open_dataset(put("a/1.png")).images(SPEC)
    assert list(cache.iterdir()) == []


def test_the_cache_forgets_what_was_used_longest_ago(put: Put, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = open_dataset(put("a/1.png"))
    monkeypatch.setattr(
        pixels, "CACHE", storage.ArrayCache("pixels", most_bytes=16_000)
    )  # 64 px and 32 px fit, 48 px not any more
    for size in (48, 32, 64):
        found.images(InputSpec(size))
    sizes = sorted(path.stat().st_size for path in cache.iterdir())
    assert len(sizes) == 2
    assert all(0 <= size - pixels <= 300 for size, pixels in zip(sizes, (32 * 32 * 3, 64 * 64 * 3), strict=True))


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_an_unreadable_image_is_named_and_never_replaced(put: Put, content: bytes) -> None:
    folder = put("a/1.png", "a/2.png", "b/3.png")
    (folder / "a" / "2.png").write_bytes(content)
    with pytest.raises(DataError, match=r"2\.png cannot be read as an image"):
        open_dataset(folder).images(SPEC)


def test_a_truncated_image_is_named(put: Put) -> None:
    folder = put("a/1.png")
    rng = np.random.default_rng(0)
    PIL.Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(folder / "a" / "1.png")
    whole = (folder / "a" / "1.png").read_bytes()
    (folder / "a" / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"1\.png.*truncated"):
        open_dataset(folder).images(SPEC)


def test_a_file_that_went_away_is_named(put: Put) -> None:
    folder = put("a/1.png")
    found = open_dataset(folder)
    (folder / "a" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.png"):
        found.images(SPEC)


def test_who_stops_waits_for_no_further_image(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(put(*(f"a/{number}.png" for number in range(100))))
    rendered: list[object] = []
    render = InputSpec.render

    def counted(spec: InputSpec, image: images.Image) -> np.ndarray:
        rendered.append(image)
        time.sleep(0.01)
        return render(spec, image)

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(InputSpec, "render", counted)
    with pytest.raises(KeyboardInterrupt):
        dataset.images(SPEC, stop)
    assert len(rendered) < 50


def test_no_picture_of_a_set_is_decoded_in_this_process(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put("a/1.png", "a/2.jpg", "b/3.tif", "b/4.png")
    (folder / "b" / "5.dcm").write_bytes((INSTALLED / "CT_small.dcm").read_bytes())
    monkeypatch.setattr(PIL.Image, "open", None)
    monkeypatch.setattr("tifffile.TiffFile.__init__", None)
    monkeypatch.setattr("pydicom.dcmread", None)
    found = open_dataset(folder)
    assert len(found.images(SPEC, cache=False)) == 5
    assert not SANDBOX._lent


@pytest.mark.parametrize("picture", ["tif", "png", "webp"])
def test_the_frames_of_a_file_are_counted(picture: str, tmp_path: Path) -> None:
    path = tmp_path / f"several.{picture}"
    frames = [PIL.Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 99, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert frame_count(path, 0, 0) == 3


@pytest.mark.parametrize("name", ["rtdose.dcm", "SC_rgb_rle_2frame.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm"])
def test_the_frames_of_a_dicom_file_are_counted(name: str) -> None:
    expected = int(pydicom.dcmread(INSTALLED / name).get("NumberOfFrames") or 1)
    assert frame_count(INSTALLED / name, 0, 0) == expected


def test_a_header_of_millions_of_elements_is_not_parsed_to_count_frames(tmp_path: Path) -> None:
    path, element = tmp_path / "many.dcm", struct.pack("<HHI", 8, 5, 0)
    path.write_bytes(bytes(128) + b"DICM" + element * 400_000 + struct.pack("<HHI", 0x28, 8, 2) + b"9 ")
    assert frame_count(path, 0, 0) == 1  # it is refused when it is decoded


def test_a_header_that_claims_billions_of_frames_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "many.dcm"
    header = struct.pack("<HHI", 8, 5, 0) + struct.pack("<HHI", 0x28, 8, 10)
    for claimed, counted in ((b"2000000000", 1), (b"12        ", 12)):
        path.write_bytes(bytes(128) + b"DICM" + header + claimed)
        assert frame_count(path, len(claimed), int(claimed)) == counted
