"""The file of readings: nothing lost, nothing doubled, whatever ended the writer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kdlight.cli.output import mistake
from kdlight.inference import Journal, JournalError

SETTINGS = {"bundle": "tiny", "frame": 0}


def lines(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "readings.jsonl").read_bytes().splitlines()]


def begun(folder: Path, *names: str) -> Path:
    with Journal(folder, SETTINGS) as journal:
        journal.append({"file": name, "refused": "drawn"} for name in names)
    return folder


def test_half_a_line_is_cut_off_and_written_again(tmp_path: Path) -> None:
    folder = begun(tmp_path / "out", "a", "b")
    with (folder / "readings.jsonl").open("ab") as file:
        file.write(b'{"file": "c", "refu')
    with Journal(folder, SETTINGS, resume=True) as journal:
        assert journal.done == {"a", "b"}
        journal.append([{"file": "c", "refused": "drawn"}])
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


WHOLE = b'{"file": "b", "refused": "drawn"}\n'
ODD = {
    "no UTF-8": b'{"file": "\xff\xfe", "refused": "x"}\n',
    "half of a character, whole line": b'{"file": "c\xc3", "refused": "x"}\n',
    "NUL bytes": b"\0" * 4096 + b"\n",
    "NUL bytes within": b'{"file": "c\0", "refused": "x"}\n',
    "a line twice": WHOLE,
    "a number for a file": b'{"file": 7, "refused": "x"}\n',
    "no file": b'{"refused": "x"}\n',
    "no answer": b'{"file": "c"}\n',
    "one model's answer": b'{"file": "c", "teacher": {}}\n',
    "a list for a reason": b'{"file": "c", "refused": ["x"]}\n',
    "a list": b"[1]\n",
    "a later version": b'{"file": "c", "schema": "kdlight.reading/9", "teacher": {}, "student": {}}\n',
    "lists without end": b"[" * 100_000 + b"\n",
    "5000 digits": b'{"file": "c", "refused": "x", "n": ' + b"9" * 5000 + b"}\n",
    "two lines in one": WHOLE[:-1].replace(b"b", b"c") * 2 + b"\n",
    "a line of 8 MB": b'{"file": "c", "refused": "' + b"x" * 8_000_000 + b'"}\n',
}


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("line", ODD.values(), ids=ODD)
def test_a_damaged_line_is_named_by_its_number_and_nothing_is_lost(tmp_path: Path, line: bytes, place: int) -> None:
    folder = begun(tmp_path / "out", "a", "b", "d")
    every = (folder / "readings.jsonl").read_bytes().splitlines(keepends=True)
    content = b"".join([*every[:place], line, *every[place:]])
    (folder / "readings.jsonl").write_bytes(content)
    number = max(place + 1, 3) if line == WHOLE else place + 1
    with pytest.raises(JournalError, match=rf"line {number} .*Remove that line, then --resume reads its file"):
        Journal(folder, SETTINGS, resume=True)
    assert (folder / "readings.jsonl").read_bytes() == content


@pytest.mark.parametrize("torn", [b'{"file": "c\xc3', b'{"file": "c", "ref', b"\0" * 70_000, b"\xff\xfe", b"["])
def test_an_end_that_was_never_written_whole_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    folder = begun(tmp_path / "out", "a", "b")
    whole = (folder / "readings.jsonl").read_bytes()
    (folder / "readings.jsonl").write_bytes(whole + torn)
    with Journal(folder, SETTINGS, resume=True) as journal:
        assert journal.done == {"a", "b"}
    assert (folder / "readings.jsonl").read_bytes() == whole


def test_lines_in_another_order_are_as_good(tmp_path: Path) -> None:
    folder = begun(tmp_path / "out", "a", "b", "c")
    every = (folder / "readings.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "readings.jsonl").write_bytes(b"".join(reversed(every)))
    with Journal(folder, SETTINGS, resume=True) as journal:
        assert journal.done == {"a", "b", "c"}


@pytest.mark.parametrize("name", ["readings.jsonl", "settings.json"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "link to itself", "bytes", "nothing"])
def test_what_is_no_journal_is_said(tmp_path: Path, name: str, kind: str) -> None:
    place = begun(tmp_path / "out", "a") / name
    place.unlink()
    {
        "folder": lambda: place.mkdir(),
        "pipe": lambda: os.mkfifo(place),
        "link to itself": lambda: place.symlink_to(place),
        "bytes": lambda: place.write_bytes(b"\xff\xfe\0"),
        "nothing": lambda: None,
    }[kind]()
    if name == "readings.jsonl" and kind in ("bytes", "nothing"):  # torn, or never begun
        with Journal(place.parent, SETTINGS, resume=True) as journal:
            assert journal.done == set()
        return
    with pytest.raises((ValueError, OSError)) as said:
        Journal(place.parent, SETTINGS, resume=True)
    sentence = mistake(said.value)  # type: ignore[arg-type]
    assert sentence is not None
    assert name in sentence or "--out" in sentence


def test_a_folder_that_could_not_be_begun_is_begun_later(tmp_path: Path) -> None:
    """As on a full disk, where the file was made and nothing was written."""
    (tmp_path / "readings.jsonl").touch()
    with Journal(tmp_path, SETTINGS) as journal:
        journal.append([{"file": "a", "refused": "drawn"}])
    assert [line["file"] for line in lines(tmp_path)] == ["a"]


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
