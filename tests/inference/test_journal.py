"""The file of readings: nothing lost, nothing doubled, whatever ended the writer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdlight.inference import Journal, JournalError

SETTINGS = {"bundle": "tiny", "frame": 0}


def lines(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "readings.jsonl").read_bytes().splitlines()]


def begun(folder: Path, *names: str) -> Path:
    with Journal(folder, SETTINGS) as journal:
        journal.append({"file": name} for name in names)
    return folder


def test_half_a_line_is_cut_off_and_written_again(tmp_path: Path) -> None:
    folder = begun(tmp_path / "out", "a", "b")
    with (folder / "readings.jsonl").open("ab") as file:
        file.write(b'{"file": "c", "refu')
    with Journal(folder, SETTINGS, resume=True) as journal:
        assert journal.done == {"a", "b"}
        journal.append([{"file": "c"}])
    assert [line["file"] for line in lines(folder)] == ["a", "b", "c"]


def test_a_damaged_line_in_the_middle_is_not_passed_over(tmp_path: Path) -> None:
    folder = begun(tmp_path / "out", "a", "b", "c")
    whole = (folder / "readings.jsonl").read_bytes()
    (folder / "readings.jsonl").write_bytes(whole.replace(b'"b"', b'"b'))
    with pytest.raises(JournalError, match="damaged"):
        Journal(folder, SETTINGS, resume=True)
    assert len((folder / "readings.jsonl").read_bytes()) == len(whole) - 1


def test_readings_are_never_written_over(tmp_path: Path) -> None:
    folder = begun(tmp_path / "out", "a")
    with pytest.raises(JournalError, match="--resume"):
        Journal(folder, SETTINGS)
    assert [line["file"] for line in lines(folder)] == ["a"]


def test_other_settings_are_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path / "out", "a")
    with pytest.raises(JournalError, match="another bundle or other options"):
        Journal(folder, SETTINGS | {"frame": 1}, resume=True)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path, SETTINGS), pytest.raises(JournalError, match="Another process"):
        Journal(tmp_path, SETTINGS, resume=True)
    with Journal(tmp_path, SETTINGS, resume=True) as journal:
        assert journal.done == set()


def test_any_file_name_comes_back_as_it_was(tmp_path: Path) -> None:
    names = ["a\nb", "\udcff", 'quote"', "Müller"]
    folder = begun(tmp_path / "out", *names)
    with Journal(folder, SETTINGS, resume=True) as journal:
        assert journal.done == set(names)
