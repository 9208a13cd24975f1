"""list, inspect and data check."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from pydicom.data import get_testdata_file

from kdlight.bundle import Bundle
from kdlight.cli import inspect
from kdlight.data import open_dataset, synthetic

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("kind", "one_of_them"),
    [
        ("models", "kdlight_nano"),
        ("methods", "kd"),
        ("datasets", "folder"),
        ("modalities", "ct"),
        ("explainers", "scorecam"),
        ("recipes", "kdlight-synthetic"),
    ],
)
def test_every_registry_is_listed_with_a_word_on_each(kdlight: Run, kind: str, one_of_them: str) -> None:
    said = kdlight("list", kind, "--json")
    assert said.status == 0
    assert one_of_them in [row["name"] for row in said.json]
    assert all(row["summary"] for row in said.json)
    assert one_of_them in kdlight("list", kind).out


def test_methods_are_listed_with_what_their_options_take(kdlight: Run) -> None:
    kd = next(row for row in kdlight("list", "methods", "--json").json if row["name"] == "kd")
    assert kd["options"] == {"alpha": 0.7, "temperature": 4.0}
    assert kd["takes"] == {"alpha": "a number from 0 to 1", "temperature": "a number above 0"}
    assert (kd["needs"], kd["tasks"]) == ("logits", ["binary", "multi-class"])


def test_a_bundle_of_the_library_is_listed_and_found_by_its_id(
    kdlight: Run, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDLIGHT_LIBRARY", str(tiny_bundle.path.parent))
    rows = {row["name"]: row for row in kdlight("list", "bundles", "--json").json}
    assert rows["tiny_mri"]["modality"] == "mri"
    assert kdlight("verify", "tiny_mri", "--json").json["bundle"] == "tiny_mri"


def test_a_dicom_is_inspected_without_its_names(kdlight: Run) -> None:
    said = kdlight("inspect", get_testdata_file("CT_small.dcm", download=False), "--json")
    assert said.status == 0
    found = said.json
    assert (found["modality"], found["rows"], found["columns"], found["units"]) == ("ct", 128, 128, "HU")
    assert "PatientName" in found["removed"]
    assert "CompressedSamples" not in said.out  # the patient's name in that file


def test_a_refused_file_gives_its_reason_on_one_line(kdlight: Run, tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()
    said = kdlight("inspect", path)
    assert (said.status, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert "empty" in said.err
    assert kdlight("inspect", path, "--json").json["read"] is False


def test_windows_are_plain_numbers(kdlight: Run) -> None:
    said = kdlight("inspect", get_testdata_file("rtdose.dcm", download=False))
    windows = next(line for line in said.out.splitlines() if line.startswith("windows"))
    assert re.search(r"center \d{6,}", windows)
    assert not re.search(r"\de[+-]?\d", windows)
    assert [inspect._plain(v) for v in (1550.0, -204.5, 0.0, 0.00002)] == ["1550", "-204.5", "0", "0.00002"]


def test_a_file_that_is_not_there_is_told(kdlight: Run, scan: Path) -> None:
    nothing = scan.with_name("nothing.png")
    assert "does not exist" in kdlight("inspect", nothing).err
    assert "does not exist" in kdlight("inspect", nothing, "--json").json["message"]
    rows = kdlight("inspect", scan, nothing, "--json").json["rows"]
    assert "does not exist" in rows[1]["words"]


def test_a_folder_is_inspected_file_by_file(kdlight: Run, scan: Path) -> None:
    (scan.parent / "notes.txt").write_text("no scan")
    said = kdlight("inspect", scan.parent, "--json")
    assert said.status == 0
    assert (said.json["files"], said.json["read"], said.json["refused"]) == (2, 1, 1)
    assert {row["file"]: row["read"] for row in said.json["rows"]} == {"notes.txt": False, "scan.png": True}


def test_a_labelled_folder_is_counted_and_its_duplicates_found(kdlight: Run, tmp_path: Path) -> None:
    for number, name in enumerate(("cat/a", "cat/b", "dog/a", "dog/b")):
        path = tmp_path / "train" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.linear_gradient("L").rotate(90 * min(number, 2)).save(path)
    said = kdlight("data", "check", tmp_path, "--json")
    assert said.status == 0
    assert said.json["counts"] == {"train": {"cat": 2, "dog": 2}}
    assert len(said.json["duplicates"]) == 1
    assert "dog" in kdlight("data", "check", tmp_path).out


def test_two_sets_become_one_table_that_is_never_written_over(kdlight: Run, tmp_path: Path) -> None:
    folders = [synthetic(tmp_path / name, per_class=12, size=32) for name in ("first", "second")]
    said = kdlight("data", "merge", *folders, "--out", tmp_path / "all.csv", "--json").json
    assert said["sets"] == ["first", "second"]
    assert sum(said["images"].values()) == sum(len(open_dataset(folder)) for folder in folders)
    before = (tmp_path / "all.csv").read_bytes()
    again = kdlight("data", "merge", *folders, "--out", tmp_path / "all.csv")
    assert again.status == 2
    assert "is there already" in again.err
    assert (tmp_path / "all.csv").read_bytes() == before
