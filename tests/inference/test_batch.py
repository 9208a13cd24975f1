"""Many files through a tiny bundle: the single way's answers, in order, in bounded queues, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kdlight.bundle import Bundle
from kdlight.images import read
from kdlight.inference import Predictor, golden, listing, read_files
from kdlight.inference import batch as reader


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Bundle) -> Predictor:
    return Predictor(tiny_bundle, threads=1)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Twenty PNGs and, among them by name, an empty file and one that is no image."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(20):
        picture = PIL.Image.fromarray(golden.draw(number, 64, color=False)).convert("L")
        picture.save(folder / f"{number:02d}.png")
    (folder / "03b.dcm").touch()
    (folder / "17b.txt").write_text("no image")
    return folder


def listed(paths: list[Path], without: Path | None = None) -> list[Path]:
    return list(listing(paths, without).files)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "readings.jsonl").read_bytes().splitlines()]


def names(out: Path) -> list[str]:
    return [Path(line["file"]).name for line in lines(out)]


def test_each_line_is_what_the_single_way_says(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    found = read_files(predictor, listed([scans]), tmp_path / "out")
    assert (found.files, found.read, found.refused, found.kept) == (22, 20, 2, 0)
    assert names(tmp_path / "out") == sorted(path.name for path in scans.iterdir())
    for line in lines(tmp_path / "out"):
        if "refused" in line:
            assert Path(line["file"]).name in ("03b.dcm", "17b.txt")
            assert line["refused"].endswith(".")
            continue
        single = json.loads(json.dumps(predictor.read(read(Path(line["file"]))).to_json()))
        for role in ("teacher", "student"):
            assert line[role].pop("probabilities") == pytest.approx(single[role].pop("probabilities"), abs=1e-5)
        assert line.pop("seconds")
        single.pop("seconds")
        assert line.pop("file")
        assert line == single


def test_what_stands_there_is_neither_read_again_nor_doubled(
    predictor: Predictor, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, out = listed([scans]), tmp_path / "out"
    read_files(predictor, [*files[:7], files[0]], out)
    before = (out / "readings.jsonl").read_bytes()
    asked: list[Path] = []
    true = reader.read
    monkeypatch.setattr(reader, "read", lambda file, *rest: (asked.append(file), true(file, *rest))[1])
    found = read_files(predictor, [*files, *files[:3]], out, resume=True)
    assert (found.kept, found.read + found.refused) == (7, 15)
    assert sorted(asked) == files[7:]
    assert (out / "readings.jsonl").read_bytes().startswith(before)
    assert names(out) == [file.name for file in files]


def test_no_more_than_the_queue_is_ever_begun(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the list, no more files are taken from it than were answered plus the queue and one batch."""
    taken, begun, most = 0, 0, 0
    lock = threading.Lock()

    def files() -> Iterator[Path]:
        nonlocal taken
        for number in range(500):
            taken += 1
            yield Path(str(number))

    def prepare(_predictor: Predictor, file: Path, *_rest: object) -> reader.Prepared:
        nonlocal begun
        with lock:
            begun += 1
        return reader.File(file, refused="drawn")

    monkeypatch.setattr(reader, "prepare", prepare)
    for answered, item in enumerate(reader.prepared(predictor, files(), decoders=3)):
        assert item.path == Path(str(answered))
        most = max(most, taken - answered, begun - answered)
    assert (taken, begun) == (500, 500)
    assert most <= reader.AHEAD


def test_one_batch_is_held_for_the_models(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    """Lines are on the disk after each batch, not at the end."""
    seen: list[int] = []
    read_files(predictor, listed([scans]), tmp_path, progress=lambda done, total: seen.append(len(lines(tmp_path))))
    assert seen == [reader.BATCH, 22]


def test_folders_are_walked_without_what_is_hidden_or_written_there(scans: Path) -> None:
    (scans / ".hidden").mkdir()
    (scans / ".hidden" / "a.png").touch()
    (scans / "out").mkdir()
    (scans / "out" / "readings.jsonl").touch()
    (scans / "deep" / "er").mkdir(parents=True)
    (scans / "deep" / "er" / "b.png").touch()
    found = listed([scans / "19.png", scans], without=Path(os.path.relpath(scans / "out")))
    assert found[0] == scans / "19.png"
    assert len(found) == 23
    assert found[-1] == scans / "deep" / "er" / "b.png"


@pytest.mark.parametrize("left", ["$RECYCLE.BIN/S-1-5/$R1.png", "@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", "sub/Thumbs.db"])
def test_what_a_system_left_in_a_folder_is_no_scan(scans: Path, left: str) -> None:
    before = listed([scans])
    (scans / left).parent.mkdir(parents=True)
    (scans / left).write_bytes((scans / "00.png").read_bytes())
    assert listed([scans]) == before
    assert listed([scans / left]) == [scans / left]  # named by itself it is meant


def _read_slowly(predictor: Predictor, scans: Path, out: Path) -> None:
    """In a forked process: two files a batch, ten at once, the rest with seconds between; the models are not asked."""

    def slow(file: Path, *rest: Any) -> Any:
        time.sleep(2 if file.name > "10" else 0)
        return read(file, *rest)

    def answer(_predictor: Predictor, part: list[reader.File]) -> list[dict[str, Any]]:
        return [{"file": str(item.path), "refused": item.refused or "read in the child"} for item in part]

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is born deaf to it
    reader.BATCH, reader.AHEAD, reader.read, reader.lines = 2, 4, slow, answer
    read_files(predictor, listed([scans]), out)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_stopped_in_the_middle_and_resumed(
    predictor: Predictor, scans: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    """The child is ended once it has written something; the rest is read here, nothing twice, nothing left out."""
    out = tmp_path / "out"
    child = os.fork()
    if child == 0:
        try:
            _read_slowly(predictor, scans, out)
        finally:
            os._exit(1)
    while not ((out / "readings.jsonl").exists() and (out / "readings.jsonl").stat().st_size):
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        time.sleep(0.01)
    os.kill(child, ending)
    os.waitpid(child, 0)
    before = len(lines(out))
    assert 0 < before < 22
    found = read_files(predictor, listed([scans]), out, resume=True)
    assert found.kept == before
    assert names(out) == sorted(path.name for path in scans.iterdir())
