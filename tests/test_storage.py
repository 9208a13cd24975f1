"""storage: a file or folder is replaced whole or not at all; a cache never gives what it was not given."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from kdlight.storage import ArrayCache, cache_folder, replacing, replacing_folder, write, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "new" / "a.txt", "first")
    write(tmp_path / "new" / "a.txt", b"second")
    assert (tmp_path / "new" / "a.txt").read_text() == "second"
    assert names(tmp_path / "new") == ["a.txt"]


def test_the_old_content_stays_after_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "old")
    with pytest.raises(TypeError), replacing(tmp_path / "a.txt") as beside:
        beside.write_bytes("half")  # type: ignore[arg-type]
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_new_file_has_the_rights_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert names(tmp_path) == []
    write_json(tmp_path / "a.json", {"words": "Glioma, café"})
    assert "café" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with replacing_folder(tmp_path / "bundle") as beside:
            (beside / f"{text}.txt").write_text(text)
    assert names(tmp_path) == ["bundle"]
    assert names(tmp_path / "bundle") == ["new.txt"]
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "bundle") as beside:
        raise RuntimeError
    assert names(tmp_path / "bundle") == ["new.txt"]


def test_what_a_killed_process_left_beside_a_folder_goes_and_what_it_moved_away_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    for moment in ("filling", "moved away", "in place"):
        with replacing_folder(path) as beside:
            (beside / "old.txt").write_text("old")
        child = os.fork()
        if child == 0:
            with replacing_folder(path) as beside:
                (beside / "new.txt").write_text("half")
                if moment != "filling":
                    beside.with_suffix(".old").mkdir()
                    path.rename(beside.with_suffix(".old") / "bundle")
                if moment == "in place":
                    beside.rename(path)
                os._exit(0)
        os.waitpid(child, 0)
        assert len(names(tmp_path)) > 1
        with pytest.raises(RuntimeError), replacing_folder(path):
            raise RuntimeError
        assert names(tmp_path) == ["bundle"]
        assert names(path) == (["new.txt"] if moment == "in place" else ["old.txt"])


def test_a_folder_that_another_is_filling_is_left_to_it(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "bundle") as first, replacing_folder(tmp_path / "bundle") as second:
        assert first.is_dir()
        (second / "second.txt").touch()
    assert names(tmp_path) == ["bundle"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArrayCache:
    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    return ArrayCache("pixels", most_bytes=1_000)


def test_arrays_come_back_as_they_were_put(cache: ArrayCache) -> None:
    arrays = {"half": np.arange(4, dtype=np.float16), "pixels": np.zeros((2, 3, 3), np.uint8), "none": np.zeros((0, 2))}
    assert cache.get("key") is None
    cache.put("key", arrays)
    kept = cache.get("key")
    assert kept is not None
    assert sorted(kept) == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(kept[name], array, strict=True)


def test_a_damaged_file_is_not_used(cache: ArrayCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.put("key", {"a": np.arange(64)})
    content = bytearray(cache.path("key").read_bytes())
    content[-1] ^= 1
    cache.path("key").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert cache.get("key") is None
    assert "damaged" in caplog.text
    cache.path("key").write_bytes(b"no safetensors")
    assert cache.get("key") is None


def test_what_was_used_longest_ago_goes_first(cache: ArrayCache) -> None:
    for number, key in enumerate(("a", "b")):
        cache.put(key, {"x": np.zeros(300, np.uint8)})
        os.utime(cache.path(key), (number, number))
    assert cache.get("a") is not None  # a is now the one used last
    cache.put("c", {"x": np.zeros(300, np.uint8)})
    assert (cache.get("a") is None, cache.get("b") is None, cache.get("c") is None) == (False, True, False)
    cache.put("large", {"x": np.zeros(5_000, np.uint8)})
    assert names(cache.folder) == ["large.safetensors"]


def test_a_cache_that_cannot_be_written_is_no_error(cache: ArrayCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.folder.parent.mkdir(exist_ok=True)
    cache.folder.write_text("a file where the folder should be")
    cache.put("key", {"a": np.arange(4)})
    assert "could be kept" in caplog.text
