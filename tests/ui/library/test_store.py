from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, BundleError
from kdlight.ui.library import store


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDLIGHT_LIBRARY", str(tmp_path / "library"))
    return tmp_path / "library"


def zipped(files: dict[str, bytes], link: str | None = None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        if link:
            entry = zipfile.ZipInfo(link)
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, "/etc/passwd")
    return packed.getvalue()


def test_what_is_packed_comes_back_byte_for_byte(tiny_bundle: Bundle, home: Path) -> None:
    kept = store.unpack(store.pack(tiny_bundle))
    assert kept == home / tiny_bundle.card.id
    assert bundles.load(kept).sha256 == tiny_bundle.sha256


def test_a_second_one_of_the_same_name_gets_a_number(tiny_bundle: Bundle, home: Path) -> None:
    assert store.add(tiny_bundle.path).name == "tiny_mri"
    assert store.add(tiny_bundle.path).name == "tiny_mri-2"
    assert sorted(p.name for p in home.iterdir()) == ["tiny_mri", "tiny_mri-2"]


def packed(bundle: Bundle, root: str = "b/") -> dict[str, bytes]:
    """The files of a zip that would be imported."""
    names = (*bundles.files(bundle.path), bundles.SUMS)
    return {f"{root}{name}": (bundle.path / name).read_bytes() for name in names}


EVIL = ["../evil.txt", "/etc/evil.txt", "b/../../evil.txt", "..\\evil.txt", "C:/evil.txt", "b/evil.txt", "evil.txt"]


@pytest.mark.parametrize("name", [*EVIL, "b/golden/SHA256SUMS", "b/golden/../../card.json", "b/card.json/x"])
def test_what_is_no_part_of_a_bundle_is_refused(name: str, tiny_bundle: Bundle, tmp_path: Path, home: Path) -> None:
    with pytest.raises(store.StoreError, match=r"no part of a bundle|2 bundles"):
        store.unpack(zipped({**packed(tiny_bundle), name: b"x"}))
    assert not list(tmp_path.rglob("evil.txt"))
    assert not home.exists()


def test_a_link_is_refused(tiny_bundle: Bundle) -> None:
    files = packed(tiny_bundle)
    del files["b/golden/case_0.png"]
    with pytest.raises(store.StoreError, match="a link"):
        store.unpack(zipped(files, link="b/golden/case_0.png"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tiny_bundle: Bundle, home: Path) -> None:
    twice = io.BytesIO(zipped(packed(tiny_bundle)))
    with zipfile.ZipFile(twice, "a") as archive:
        archive.writestr("b/card.json", b"{}")
    with pytest.raises(store.StoreError, match="a file twice"):
        store.unpack(twice.getvalue())
    assert not home.exists()


def test_a_zip_with_its_middle_missing_is_refused(tiny_bundle: Bundle, home: Path) -> None:
    whole = store.pack(tiny_bundle)
    for start in range(30, len(whole), len(whole) // 8):
        with pytest.raises(store.StoreError, match="no readable zip"):
            store.unpack(whole[:start] + bytes(400) + whole[start + 400 :])
        with pytest.raises(store.StoreError, match="no readable zip"):
            store.unpack(whole[:start] + whole[start + 400 :])
    assert not home.exists()


def test_too_many_files_and_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(store.StoreError, match="at most 200"):
        store.unpack(zipped({f"f{i}": b"" for i in range(201)}))
    monkeypatch.setattr(store, "MOST_BYTES", 1 << 20)
    with pytest.raises(store.StoreError, match="unpacks to more than 1 MB"):
        store.unpack(zipped({"SHA256SUMS": b"", "student.onnx": bytes(3 << 20)}))


@pytest.mark.parametrize("content", [b"", b"no zip at all", zipped({"a": b"x"})[:40]])
def test_what_is_no_zip_is_refused(content: bytes) -> None:
    with pytest.raises(store.StoreError, match="no readable zip"):
        store.unpack(content)


def test_a_zip_without_a_bundle_is_refused(home: Path) -> None:
    with pytest.raises(store.StoreError, match="holds 0 bundles"):
        store.unpack(zipped({"a/readme.txt": b"x"}))


def test_a_changed_byte_is_refused_and_nothing_is_listed(bundle_copy: Path, home: Path) -> None:
    files = {f"b/{p.relative_to(bundle_copy)}": p.read_bytes() for p in bundle_copy.rglob("*") if p.is_file()}
    weights = bytearray(files["b/student.safetensors"])
    weights[-1] ^= 1
    with pytest.raises(BundleError, match=r"student\.safetensors was changed"):
        store.unpack(zipped({**files, "b/student.safetensors": bytes(weights)}))
    assert not home.exists() or not list(home.iterdir())


def test_only_the_persons_own_bundles_can_be_deleted(tiny_bundle: Bundle) -> None:
    kept = bundles.load(store.add(tiny_bundle.path))
    store.remove(kept)
    assert not kept.path.exists()
    with pytest.raises(store.StoreError, match="came with kdlight and stays"):
        store.remove(tiny_bundle)
    assert tiny_bundle.path.exists()


def test_a_bundle_whose_flag_was_removed_is_not_imported(bundle_copy: Path, home: Path) -> None:
    card = bundle_copy / "card.json"
    card.write_text(card.read_text().replace('"must_not_miss": true', '"must_not_miss": false'))
    bundles.seal(bundle_copy)
    with pytest.raises(store.StoreError, match="was exchanged: card"):
        store.unpack(store.pack(bundles.load(bundle_copy)))
    assert not home.exists()


def test_a_full_disk_is_said(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_extract", full)
    with pytest.raises(store.StoreError, match="could not be written"):
        store.unpack(store.pack(tiny_bundle))
