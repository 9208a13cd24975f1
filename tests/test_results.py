"""The results page is what the records say; a record that is broken is named; nothing is filled in."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdlight import results
from kdlight.cli import main
from kdlight.config import shipped
from kdlight.distillers import METHODS, hyperparameters
from kdlight.results.command import of as command_of
from kdlight.results.page import SETS, SYSTEMS, gain, system

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "docs" / "studies"
Kept = Callable[..., Path]


@pytest.fixture
def study(tmp_path: Path) -> Kept:
    """Writes the record of a study of two seeds; a test changes what it wants."""

    def write(name: str = "study", **changes: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        record = {
            "schema": "kdlight.study/1",
            "recipe": "kdlight-ham7",
            "data": {"name": "ham7", "title": "Skin lesions", "images": {"test": 498}},
            "metric": "balanced_accuracy",
            "seeds": [
                {"seed": 0, "teacher": 0.8, "student": 0.7, "alone": 0.6},
                {"seed": 1, "teacher": 0.8, "student": 0.8, "alone": 0.65},
            ],
            "gain_over_alone": {"value": 0.125, "low": 0.04, "high": 0.2},
            "gain": "gain +12.5 [+4.0, +20.0]",
            **changes,
        }
        (folder / "study.json").write_text(json.dumps({k: v for k, v in record.items() if v is not None}))
        return folder

    return write


def models_of(student: str) -> dict[str, Any]:
    return {"teacher": {"architecture": "mobilenetv2", "start": "w.pth"}, "student": {"architecture": student}}


def page_of(*studies: Path) -> str:
    return results.write(results.collect(studies))


def row_of(page: str, name: str) -> list[str]:
    """The cells of the first row of a set's own table."""
    section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    return [cell.strip() for cell in section.strip().splitlines()[2].strip("|").split("|")]


def test_the_page_is_what_the_published_records_say() -> None:
    notes = PUBLISHED / "notes.md"
    written = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    words = notes.read_text(encoding="utf-8") if notes.is_file() else ""
    defaults = {name: hyperparameters(method) for name, method in METHODS.items()}
    assert written == results.write(results.collect([PUBLISHED]), words, defaults), "run make results"


def test_published_records_name_no_folder() -> None:
    for path in PUBLISHED.glob("*.json"):
        assert not re.search(r'"[^"]*(?:/[\w.-]+){2,}', path.read_text(encoding="utf-8").replace(r"\/", "/")), path
        assert results.read(path).recipe in shipped(), path


def test_a_row_holds_the_numbers_of_its_record(study: Kept) -> None:
    cells = row_of(page_of(study(mcnemar_p=0.0312, minutes={"teacher": 12.5, "student": 3.0})), "ham7")
    assert cells[2:5] == ["0.800", "0.625 (0.600 to 0.650)", "0.750 (0.700 to 0.800)"]
    assert cells[5:11] == ["**+12.5 [+4.0, +20.0]**", "-", "-", "0.938", "0.031", "2"]
    assert cells[-1] == "12.5 / 3"


def test_what_a_record_does_not_say_stays_a_dash_and_what_was_not_run_empty(study: Kept) -> None:
    page = page_of(study())
    assert row_of(page, "ham7")[11] == "498"
    assert row_of(page, "ham7")[12:] == ["-"] * 6
    glance = page.partition("## At a glance")[2].partition("\n## ")[0].strip().splitlines()
    columns = [cell.strip() for cell in glance[0].strip("|").split("|")]
    assert columns[1:6] == list(SETS)
    row = next(line for line in glance if "0.625 to 0.750 (of 0.800)" in line)
    assert [bool(cell.strip()) for cell in row.strip("|").split("|")[1:6]] == [name == "ham7" for name in SETS]
    assert "Nothing was run on this set." in page.partition("## busi3")[2].partition("## ")[0]


def test_a_second_baseline_has_its_own_columns(study: Kept) -> None:
    seeds = [{"seed": s, "teacher": 0.8, "student": 0.7, "alone": 0.6, "scratch": 0.5} for s in (0, 1)]
    over = {"value": 0.2, "low": 0.1, "high": 0.3}
    cells = row_of(page_of(study(seeds=seeds, gain_over_scratch=over)), "ham7")
    assert cells[6:8] == ["0.500", "**+20.0 [+10.0, +30.0]**"]


def test_recipes_without_a_study_are_named_as_not_run(study: Kept) -> None:
    last = page_of(study()).partition("## What was not run")[2]
    assert "`kdlight-ham7`:" not in last
    for name in set(shipped()) - {"kdlight-ham7", "kdlight-synthetic"}:
        assert f"- `{name}`: " in last


def test_a_gain_is_bold_only_where_it_is_proven(study: Kept) -> None:
    one = [{"seed": 0, "teacher": 0.8, "student": 0.7, "alone": 0.6}]
    spans = {"value": 0.01, "low": -0.01, "high": 0.03}
    unknown = {"value": 0.1, "low": None, "high": None}
    cases: list[dict[str, Any]] = [
        {},
        {"seeds": one},
        {"gain_over_alone": spans},
        {"gain_over_alone": unknown, "gain": "no proven gain (too few)"},
    ]
    assert [gain(results.read(study(f"{n}", **changes))) for n, changes in enumerate(cases)] == [
        "**+12.5 [+4.0, +20.0]**",
        "+12.5 [+4.0, +20.0], one seed",
        "+1.0 [-1.0, +3.0], not proven",
        "no proven gain (too few)",
    ]
    page = page_of(study("b", seeds=one))
    assert "With one seed only, which proves nothing: `kdlight-ham7` (ham7)." in page


def test_the_aim_is_counted_from_the_records(study: Kept) -> None:
    nano = {"models": models_of("kdlight_nano"), "method": {"name": "feature"}}
    near = [{"seed": s, "teacher": 0.8, "student": 0.795, "alone": 0.6} for s in (0, 1)]
    page = page_of(study("a", **nano), study("b", **nano, data={"name": "busi3"}, seeds=near))
    aim = next(line for line in page.splitlines() if line.startswith("Aim:"))
    assert "run on 2 (busi3, ham7)" in aim
    assert "within 1 point on 1 (busi3)" in aim
    assert "proven on 2 (busi3, ham7)" in aim


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": "other/1"}, "is no record of a study"),
        ({"seeds": []}, "is broken"),
        ({"seeds": [{"seed": 0, "teacher": 0.8, "student": 7, "alone": 0.6}]}, "not between 0 and 1"),
        ({"seeds": [{"seed": 0, "teacher": 0.8, "student": 0.7}]}, "alone"),
        ({"gain_over_alone": "much"}, "is broken"),
    ],
)
def test_a_broken_record_is_named(study: Kept, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(results.RecordError, match=said) as found:
        results.read(study("bad", **changes))
    assert "bad/study.json" in str(found.value)


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(results.RecordError, match="not readable JSON"):
        results.read(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(results.RecordError, match="holds no record"):
        results.collect([tmp_path / "empty"])


def test_a_record_that_names_only_its_set_finds_its_recipe_by_models_and_method(study: Kept) -> None:
    from kdlight.config import read_recipe

    recipe = read_recipe(shipped()["kdlight-ham7"])
    for method in (recipe.distill.method, "dkd"):  # another method on KDLight's pair
        said = {"models": models_of(recipe.student.name), "method": {"name": method}, "recipe": "ham7"}
        assert results.read(study(**said)).recipe == "kdlight-ham7"
    assert results.read(study(recipe="my_own_set")).recipe == "my_own_set"


def test_a_card_tells_what_an_older_record_does_not(study: Kept) -> None:
    """The record of a shipped bundle's card, alone and beside the study that made it."""
    cards = sorted((ROOT / "assets" / "bundles").glob("*/card.json"))
    card = next(c for c in cards if "study" in json.loads(c.read_text(encoding="utf-8"))["metrics"])
    raw = json.loads(card.read_text(encoding="utf-8"))
    found = results.read(card)
    assert found.fact("parameters", "student") == raw["student"]["parameters"]
    assert found.fact("images") == raw["metrics"]["n"]
    folder = study("with", **{**raw["metrics"]["study"], "minutes": None})
    (folder / "bundle").mkdir()
    (folder / "bundle" / "card.json").write_text(json.dumps(raw))
    assert results.read(folder).fact("bytes", "teacher") == raw["teacher"]["bytes"]
    assert results.read(folder).mean == found.mean


def test_a_measured_latency_beside_the_study_is_taken_on_one_engine_for_both(study: Kept) -> None:
    folder = study()
    times = {"teacher, torch eager": 30.04, "teacher, ONNX Runtime": 12.0, "student, ONNX Runtime": 2.0}
    found = {
        "rows": [{"name": name, "p50_ms": ms, "p95_ms": 2 * ms} for name, ms in times.items()],
        **{"size": 128, "threads": 1, "runs": 50, "machine": {"cpu": "A processor", "cores": 2, "memory_gb": 8}},
        **{"baseline": "teacher, torch eager", "candidate": "student, ONNX Runtime"},
    }
    (folder / "latency.json").write_text(json.dumps(found))
    page = page_of(folder)
    assert row_of(page, "ham7")[14] == "12 / 2"
    assert "one image of 128 px (teacher, ONNX Runtime; student, ONNX Runtime), 1 of 2 cores of A processor." in page
    del found["rows"][1]  # type: ignore[attr-defined]
    (folder / "latency.json").write_text(json.dumps(found))
    assert row_of(page_of(folder), "ham7")[14] == "30 / 2"


def test_keeping_drops_folders_replaces_the_same_row_and_spares_another(study: Kept, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    method = {"name": "kd", "options": {"weights": "/home/someone/w.safetensors", "alpha": 0.3}}
    folder = study(method=method, host="somewhere")
    first = results.keep(results.read(folder), kept)
    text = first.read_text(encoding="utf-8")
    assert "someone" not in text
    assert "somewhere" not in text
    assert results.read(first).mean == results.read(folder).mean
    assert results.keep(results.read(folder), kept) == first
    other = {"name": "kd", "options": {"alpha": 0.9}}
    assert results.keep(results.read(study("other", method=other)), kept) != first
    assert len(list(kept.glob("*.json"))) == 2


def test_the_command_names_what_was_run_otherwise_and_is_understood(study: Kept) -> None:
    from typer.main import get_command

    from kdlight.cli import app

    method = {"name": "kd", "options": {"alpha": 0.25, "temperature": 2.0}}
    record = results.read(study(models=models_of("kdlight_small"), method=method, data={"name": "ham7", "size": 64}))
    words = shlex.split(command_of(record, {"kd": {"alpha": 0.7, "temperature": 2.0}}))
    given = {words[i + 1] for i, word in enumerate(words) if word == "-o"}
    expected = {"data.size=64", "student.name=kdlight_small", "distill.method=kd", "distill.alpha=0.25"}
    assert expected <= given
    assert "distill.temperature=2.0" not in given  # the method's own
    assert "teacher.weights=WEIGHTS" in given
    assert words[-2:] == ["--seeds", "2"]
    with get_command(app).commands["study"].make_context("study", words[2:]) as context:  # type: ignore[attr-defined]
        assert context.params["seeds"] == 2


def test_every_system_of_the_literature_is_known_by_its_recipe() -> None:
    assert system("kdlight-ham7") == "KDLight"
    assert system("kd-oct") == "KD-OCT"
    assert system("something-else") == "something-else"
    assert {system(name) for name in shipped()} <= set(SYSTEMS.values())


def test_the_command_line_writes_page_and_records(
    study: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, kept = tmp_path / "docs" / "results.md", tmp_path / "docs" / "studies"
    kept.mkdir(parents=True)
    (kept / "notes.md").write_text("Trained on two cores.")
    assert main(["results", str(study()), "--keep", str(kept), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["studies"][0]["gain"] == "+12.5 [+4.0, +20.0]"
    assert main(["results", str(kept), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8").endswith("Trained on two cores.\n")
    assert main(["results", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err
