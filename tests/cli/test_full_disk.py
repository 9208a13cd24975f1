"""A disk that fills up at any point costs one sentence: nothing half-written is left, and the work goes on later."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import PIL.Image
import pytest

from kdlight import bundle as bundles
from kdlight import runs
from kdlight.bundle import Bundle
from kdlight.contracts.recipe import read_recipe, shipped
from kdlight.inference import golden
from kdlight.runs import Run as Folder
from tests.cli.conftest import Said

Run = Callable[..., Said]
SMALL = ("train.epochs=2", "teacher.epochs=1", "data.size=32", "train.batch_size=64")


@contextlib.contextmanager
def largest(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as where a quota ends."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("a disk can be mounted by root only")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def grow(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """27 drawn images of the tiny bundle's classes."""
    for number in range(27):
        split, name = ("train", "val", "test")[number // 9], ("benign", "malignant", "normal")[number % 3]
        path = tmp_path / "set" / split / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(golden.draw(number, 64, color=False)).save(path)
    return tmp_path / "set"


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A training of a minute on drawn images, its weights at hand."""
    import torch
    from safetensors.torch import save_file

    from kdlight.data import synthetic
    from kdlight.models import create_model

    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    save_file(create_model("mobilenetv2", 3).state_dict(), tmp_path / "weights.safetensors")
    shapes = synthetic(tmp_path / "shapes", per_class=12, size=32)
    texts = (*SMALL, f"teacher.weights={tmp_path / 'weights.safetensors'}", f"data.path={shapes}")
    return [part for text in texts for part in ("-o", text)]


def said_so(said: Said, folder: Path) -> None:
    """One sentence, and nothing half-written."""
    assert said.status in (1, 2)
    last = said.err.splitlines()[-1]
    assert last.startswith("kdlight: ")
    assert "disk is full" in last or "larger than a file may be" in last
    assert "Traceback" not in said.err
    assert "Error" not in last
    assert str(folder.name) in last
    left = [path.name for path in folder.parent.rglob("*") if ".part" in path.name or ".old" in path.name]
    assert left == []


@pytest.mark.parametrize("size", [0, 300, 20_000, 200_000, 1_000_000, 3_000_000])
@pytest.mark.parametrize("precision", ["fp16"])
def test_compress_leaves_all_or_nothing(
    kdlight: Run, tiny_bundle: Bundle, tmp_path: Path, size: int, precision: str
) -> None:
    """It ended with a list of tuples and a leftover folder."""
    out = tmp_path / "small"
    with largest(size):
        said = kdlight("compress", tiny_bundle.path, "--precision", precision, "--out", out)
    said_so(said, out)
    assert not out.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("free", [0, 400_000, 1_000_000, 1_800_000])
def test_int8_needs_room_for_its_own_files(
    kdlight: Run, tiny_bundle: Bundle, labelled: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    """Half of them were written in silence, and read as a corrupt network."""
    (disk / "other").write_bytes(bytes((4 << 20) - 8192 - free))
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    out = disk.parent / "small"
    said = kdlight("compress", tiny_bundle.path, "--precision", "int8", "--data", labelled, "--out", out)
    said_so(said, disk)
    assert not out.exists()
    assert [path.name for path in disk.iterdir()] == ["other"]


@pytest.mark.parametrize("size", [0, 100_000])
def test_export_leaves_all_or_nothing(kdlight: Run, tiny_bundle: Bundle, tmp_path: Path, size: int) -> None:
    with largest(size):
        said_so(kdlight("export", tiny_bundle.path, "--out", tmp_path / "out"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(20):
        PIL.Image.fromarray(golden.draw(number, 64, color=False)).convert("L").save(folder / f"{number:02d}.png")
    return folder


@pytest.mark.parametrize("size", [0, 100, 2000, 20_000])
def test_predict_keeps_whole_lines_and_goes_on(
    kdlight: Run, tiny_bundle: Bundle, scans: Path, tmp_path: Path, size: int
) -> None:
    out, command = tmp_path / "out", ("predict", tiny_bundle.path, scans, "--confirm", "--out", tmp_path / "out")
    with largest(size):
        said_so(kdlight(*command), out)
    content = (out / "readings.jsonl").read_bytes() if (out / "readings.jsonl").exists() else b""
    assert content.endswith(b"\n") or not content
    kept = len(content.splitlines())
    assert kept in (0, 16)
    again = kdlight(*command, *(["--resume"] if kept else []), "--json")
    assert again.status == 0, again.err
    assert (again.json["kept"], again.json["read"]) == (kept, 20 - kept)
    assert len((out / "readings.jsonl").read_bytes().splitlines()) == 20


def test_single_files_and_heat_maps_are_written_whole_or_not(
    kdlight: Run, tiny_bundle: Bundle, scan: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with largest(1000):
        said = kdlight("predict", tiny_bundle.path, scan, "--confirm", "--explain", "gradcam", "--out", out)
    assert said.status == 2
    assert list(out.iterdir()) == []
    with largest(1000):
        said = kdlight("explain", tiny_bundle.path, scan, "--confirm", "--out", out / "map.png")
    said_so(said, out / "map.png")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("size", [0, 100])
def test_a_run_that_cannot_be_begun_leaves_no_folder(tmp_path: Path, size: int) -> None:
    recipe = read_recipe(shipped()["kdlight-synthetic"])
    with largest(size), pytest.raises(OSError, match="too large"):
        runs.start(recipe, tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 2000, 5_000_000, 20_000_000])
def test_a_run_ends_with_a_sentence_and_goes_on(kdlight: Run, options: list[str], tmp_path: Path, size: int) -> None:
    """It ended with a SafetensorError."""
    out = tmp_path / "runs" / "run"
    command = ("train", "kdlight-synthetic", *options, "--out", out)
    with largest(size):
        said_so(kdlight(*command), out)
    assert not out.exists() or Folder(out).status().state in ("failed", "stopped")
    resumes = ["--resume"] if out.exists() else []
    again = kdlight(*command, *resumes)
    assert again.status == 0, again.err
    assert bundles.load(out / "bundle").card.id
    assert [(r.phase, r.epoch) for r in Folder(out).log()] == [
        ("teacher", 1),
        ("alone", 1),
        ("alone", 2),
        ("student", 1),
        ("student", 2),
    ]


@pytest.mark.slow
def test_a_run_on_a_full_disk_goes_on_once_there_is_room(kdlight: Run, options: list[str], disk: Path) -> None:
    """At its first weights, then at a checkpoint, then at the bundle; then there is room."""
    out = disk / "run"
    command = ("train", "kdlight-synthetic", *options, "--out", out)
    for size in ("16m", "40m", None):
        said_so(kdlight(*command, *(["--resume"] if out.exists() else [])), out)
        assert Folder(out).status().state in ("failed", "stopped")
        grow(disk, size or "200m")
    again = kdlight(*command, "--resume")
    assert again.status == 0, again.err
    assert len(Folder(out).log()) == 5


@pytest.mark.slow
def test_a_study_on_a_full_disk_goes_on_once_there_is_room(kdlight: Run, options: list[str], disk: Path) -> None:
    out = disk / "study"
    command = ("study", "kdlight-synthetic", *options, "--seeds", "1", "--out", out)
    said_so(kdlight(*command), out)
    grow(disk, "200m")
    again = kdlight(*command, "--json")
    assert again.status == 0, again.err
    assert (out / "study.json").is_file()


@pytest.mark.parametrize("taken", [4_000_000, 4_190_000])
def test_predict_and_compress_on_a_full_disk(
    kdlight: Run, tiny_bundle: Bundle, scans: Path, disk: Path, taken: int
) -> None:
    (disk / "other").write_bytes(bytes(taken))
    said_so(kdlight("compress", tiny_bundle.path, "--precision", "fp16", "--out", disk / "small"), disk / "small")
    assert [path.name for path in disk.iterdir()] == ["other"]
    command = ("predict", tiny_bundle.path, scans, "--confirm", "--out", disk / "out")
    (disk / "other").write_bytes(bytes(4 << 20))
    said_so(kdlight(*command), disk / "out")
    (disk / "other").unlink()
    begun = (disk / "out" / "readings.jsonl").exists() and (disk / "out" / "readings.jsonl").stat().st_size
    assert kdlight(*command, *(["--resume"] if begun else [])).status == 0
    assert len((disk / "out" / "readings.jsonl").read_bytes().splitlines()) == 20
