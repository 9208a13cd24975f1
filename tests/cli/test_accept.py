"""accept on a whole tiny bundle: the record, its chain, and cases that cannot be counted."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kdlight.bundle import Bundle
from kdlight.inference import golden
from kdlight.trust.acceptance import held_against
from kdlight.trust.monitoring import read_result

Run = Callable[..., Any]
CLASSES = ("benign", "malignant", "normal")


def drawn(folder: Path, first: int, count: int = 12, side: int = 64) -> Path:
    """So many drawn images in <class>/."""
    for number in range(first, first + count):
        path = folder / CLASSES[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(golden.draw(number, side, color=False)).save(path)
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return drawn(tmp_path / "mine", 0)


def test_the_record_holds_what_it_rests_on_and_its_lines_follow_from_it(
    kdlight: Run, tiny_bundle: Bundle, mine: Path, tmp_path: Path
) -> None:
    said = kdlight("accept", tiny_bundle.path, mine, "--out", tmp_path / "record.json", "--json")
    assert said.status == 0, said.err
    found = read_result(tmp_path / "record.json")
    assert found.sha256 == said.json["sha256"]
    assert found.bundle_sha256 == tiny_bundle.sha256
    files = {hashlib.sha256(path.read_bytes()).hexdigest() for path in mine.rglob("*.png")}
    assert {case.sha256 for case in found.cases} == files
    assert found.bar_sha256 == hashlib.sha256(found.bar.to_toml().encode()).hexdigest()
    assert held_against(found.cases, found.bar, tiny_bundle.card) == found.lines
    assert str(tmp_path) not in (tmp_path / "record.json").read_text(encoding="utf-8")
    out = kdlight("accept", tiny_bundle.path, mine).out
    assert "cases needed" in out
    assert "sensitivity" in out


def test_a_case_answers_as_evaluate_measures(kdlight: Run, tiny_bundle: Bundle, mine: Path) -> None:
    found = kdlight("accept", tiny_bundle.path, mine, "--json").json
    measured = kdlight("evaluate", tiny_bundle.path, mine, "--split", "all", "--json").json
    for role in ("teacher", "student"):
        right = sum(case[role]["answer"] == case["truth"] for case in found["cases"])
        assert right / 12 == pytest.approx(measured[role]["accuracy"]["value"])


def test_later_cases_are_chained_to_it_and_none_counts_twice(
    kdlight: Run, tiny_bundle: Bundle, mine: Path, tmp_path: Path
) -> None:
    first, second, third = (tmp_path / f"{name}.json" for name in ("first", "second", "third"))
    kdlight("accept", tiny_bundle.path, mine, "-o", "sensitivity.malignant=0.99", "--out", first)
    drawn(mine, 12, 6)
    said = kdlight("accept", tiny_bundle.path, mine, "--since", first, "--out", second)
    assert said.status == 0, said.err
    assert "12 files were there twice or counted before" in said.out
    before, now = read_result(first), read_result(second)
    assert now.before == before.sha256
    assert (len(now.cases), now.repeated, now.looks) == (6, 12, 1)
    assert (now.bar, now.began) == (before.bar, before.verdict)
    again = kdlight("accept", tiny_bundle.path, mine, "--since", second)
    assert again.status == 2
    assert "All 18 files were counted before" in again.err
    later = drawn(tmp_path / "later", 18, 60)
    kdlight("accept", tiny_bundle.path, later, "--since", second, "--out", third)
    last = read_result(third)
    assert (last.looks, last.verdict) == (2, "stop")  # an untrained network finds far less than 99 %
    assert last.began == before.verdict
    assert last.watches[0].n == 22


def test_an_image_that_is_there_twice_counts_once_and_must_not_have_two_classes(
    kdlight: Run, tiny_bundle: Bundle, mine: Path
) -> None:
    shutil.copy(mine / "benign" / "0.png", mine / "benign" / "copy.png")
    found = kdlight("accept", tiny_bundle.path, mine, "--json").json
    assert (len(found["cases"]), found["repeated"]) == (12, 1)
    shutil.move(mine / "benign" / "copy.png", mine / "normal" / "copy.png")
    said = kdlight("accept", tiny_bundle.path, mine)
    assert said.status == 2
    assert "is labeled normal, and the same file benign" in said.err


def test_what_the_bundle_withholds_is_counted_and_told(kdlight: Run, tiny_bundle: Bundle, mine: Path) -> None:
    """The tiny bundle reads no image below 32 pixels."""
    drawn(mine, 13, 1, side=16)
    said = kdlight("accept", tiny_bundle.path, mine, "--json")
    assert said.status == 0, said.err
    (case,) = (case for case in said.json["cases"] if case["student"] is None)
    assert (case["truth"], case["teacher"]) == ("malignant", None)
    lines = {line["criterion"]: line for line in said.json["lines"]}
    assert (lines["answered"]["n"], lines["answered"]["value"]) == (13, pytest.approx(12 / 13))
    assert (lines["sensitivity"]["n"], lines["sensitivity"]["withheld"]) == (4, 1)
    assert "1 of them were withheld by the bundle" in kdlight("accept", tiny_bundle.path, mine).out


def test_the_images_of_a_group_are_one_case(kdlight: Run, tiny_bundle: Bundle, mine: Path) -> None:
    rows = [f"{c}/{n}.png,{c},{'one' if n < 6 else n}" for n, c in ((n, CLASSES[n % 3]) for n in range(12))]
    (mine / "manifest.csv").write_text("\n".join(["path,class,group", *rows]), encoding="utf-8")
    found = kdlight("accept", tiny_bundle.path, mine, "--json").json
    assert len(found["cases"]) == 12
    lines = {line["criterion"]: line for line in found["lines"]}
    assert (lines["answered"]["n"], lines["sensitivity"]["n"]) == (7, 3)


def test_a_bar_from_a_file_is_the_whole_bar(kdlight: Run, tiny_bundle: Bundle, mine: Path, tmp_path: Path) -> None:
    (tmp_path / "bar.toml").write_text('models = "both"\n[sensitivity]\nmalignant = 0.9\n', encoding="utf-8")
    found = kdlight("accept", tiny_bundle.path, mine, "--bar", tmp_path / "bar.toml", "--json").json
    assert [(line["criterion"], line["model"]) for line in found["lines"]] == [
        ("sensitivity", "teacher"),
        ("sensitivity", "student"),
    ]


def test_mistakes_are_told_in_a_line(kdlight: Run, tiny_bundle: Bundle, mine: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    kdlight("accept", tiny_bundle.path, mine, "--out", record)
    values = json.loads(record.read_text(encoding="utf-8"))
    spoiled = tmp_path / "spoiled.json"
    spoiled.write_text(json.dumps({**values, "verdict": "accepted"}), encoding="utf-8")
    for arguments, told in (
        (("-o", "sensitivity.melanoma=0.9"), "sensitivity.melanoma is of a class that the bundle does not know"),
        (("--since", record, "-o", "looks=2"), "--since goes on with the bar of the record"),
        (("--since", spoiled), "spoiled.json was changed after it was written"),
        (("--since", tmp_path / "absent.json"), "does not exist"),
        (("--split", "test"), "its splits: all"),
    ):
        said = kdlight("accept", tiny_bundle.path, mine, *arguments)
        assert (said.status, said.out) == (2, ""), arguments
        assert told in said.err
    (mine / "benign").rename(mine / "bicycle")
    said = kdlight("accept", tiny_bundle.path, mine)
    assert said.status == 2
    assert "bicycle" in said.err


def test_a_record_of_another_bundle_is_refused(
    kdlight: Run, tiny_bundle: Bundle, bundle_copy: Path, mine: Path, tmp_path: Path
) -> None:
    from tests.bundle_faults import put, spoil

    spoil(bundle_copy, put("2.0.0", "version"))
    kdlight("accept", bundle_copy, mine, "--out", tmp_path / "record.json")
    said = kdlight("accept", tiny_bundle.path, mine, "--since", tmp_path / "record.json")
    assert said.status == 2
    assert "version 2.0.0" in said.err
