"""The results page is what the records say; a record that is broken is named; nothing is filled in."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdlight.bundle import load, seal, write_card
from kdlight.bundle.study_record import StudyRecord
from kdlight.contracts.recipe import shipped
from kdlight.distillers import METHODS, hyperparameters
from kdlight.runs.recipes import open_recipe
from kdlight.studies import RecordError, collect, read
from kdlight.studies.gains import NO_TEACHER, NOT_COMPARED, over_same_start, with_baseline
from kdlight.studies.records import command_of, settings
from kdlight.studies.records import shipped_recipes as recipes
from tools import folds_table
from tools.results import page as results
from tools.results.__main__ import main, methods
from tools.results.page import SETS
from tools.results.publish import publish
from tools.results.rows import OF_METHOD, SYSTEMS, row_of_recipe, system
from tools.results.sets import gain

ROOT = Path(__file__).resolve().parents[2]
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
                {"seed": 0, "teacher": 0.8, "student": 0.7, "alone": 0.575},
                {"seed": 1, "teacher": 0.8, "student": 0.8, "alone": 0.675},
            ],
            "gain_over_alone": {"value": 0.125, "low": 0.045, "high": 0.205},
            "gain": "gain +12.5 [+4.5, +20.5]",
            **changes,
        }
        (folder / "study.json").write_text(json.dumps({k: v for k, v in record.items() if v is not None}))
        return folder

    return write


def models_of(student: str) -> dict[str, Any]:
    return {"teacher": {"architecture": "mobilenetv2", "start": "w.pth"}, "student": {"architecture": student}}


def page_of(*studies: Path) -> str:
    return results.write(collect(studies))


def section_of(page: str, name: str) -> list[str]:
    return page.partition(f"\n## {name}\n")[2].partition("\n## ")[0].strip().splitlines()


def rows_of(page: str, name: str) -> list[dict[str, str]]:
    """The rows of a set's own table, by the names of its columns."""
    lines = [line for line in section_of(page, name) if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def glance(page: str, heading: str) -> dict[str, dict[str, str]]:
    """A table of the first part by its rows' names: the cells by set."""
    part = page.partition(f"\n### {heading}")[2].partition("\n#")[0]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("|")]
    return {row[0]: dict(zip(cells[0][1:], row[1:], strict=True)) for row in cells[2:]}


def test_the_page_is_what_the_published_records_say() -> None:
    notes = PUBLISHED / "notes.md"
    written = (ROOT / "docs" / "results-full.md").read_text(encoding="utf-8")
    words = notes.read_text(encoding="utf-8") if notes.is_file() else ""
    assert written == results.write(collect([PUBLISHED]), words, methods()), "run make docs"


def test_published_records_name_no_folder() -> None:
    for path in PUBLISHED.glob("*.json"):
        assert not re.search(r'"[^"]*(?:/[\w.-]+){2,}', path.read_text(encoding="utf-8").replace(r"\/", "/")), path
        assert read(path).recipe in shipped(), path


def test_a_row_holds_the_numbers_of_its_record(study: Kept) -> None:
    told = {"mcnemar_p": 0.5, "mcnemar_pooled_p": 0.0312, "minutes": {"teacher": 12.5, "student": 3.0}}
    (row,) = rows_of(page_of(study(**told)), "ham7")
    expected = {
        **{"teacher": "0.800", "alone": "0.625 (0.575 to 0.675)", "taught": "0.750 (0.700 to 0.800)"},
        **{
            "gain in points": "**+12.5 [+4.5, +20.5]**",
            "of the teacher": "0.938",
            "McNemar p": "0.031",
            "trainings": "2 seeds",
        },
        **{"from scratch": "-", "gain over scratch": "-", "training, min": "12.5 / 3"},
    }
    assert {name: row[name] for name in expected} == expected


def test_the_test_of_one_seed_is_called_so_where_a_record_has_no_other(study: Kept) -> None:
    assert rows_of(page_of(study(mcnemar_p=0.0312)), "ham7")[0]["McNemar p"] == "0.031 (first seed)"
    one = [{"seed": 0, "teacher": 0.8, "student": 0.7, "alone": 0.6}]
    assert rows_of(page_of(study(mcnemar_p=0.0312, seeds=one)), "ham7")[0]["McNemar p"] == "0.031"


def test_what_a_record_does_not_say_stays_a_dash_and_what_was_not_run_empty(study: Kept) -> None:
    page = page_of(study())
    (row,) = rows_of(page, "ham7")
    assert row["test images"] == "498"
    assert {row[name] for name in ("McNemar p", "parameters", "on disk", "latency, ms", "px", "epochs")} == {"-"}
    table = glance(page, "The systems")
    assert list(next(iter(table.values()))) == [*SETS, "mean gain"]
    name = next(name for name, cells in table.items() if "0.625 to 0.750 (of 0.800)" in cells["ham7"])
    assert [bool(table[name][of]) for of in SETS] == [of == "ham7" for of in SETS]
    assert table[name]["mean gain"] == "+12.5, 1 set"
    assert section_of(page, "busi3") == ["Nothing was run on this set."]


def test_a_second_baseline_has_its_own_columns(study: Kept) -> None:
    seeds = [{"seed": s, "teacher": 0.8, "student": 0.7, "alone": 0.6, "scratch": 0.5} for s in (0, 1)]
    over = {"value": 0.2, "low": 0.1, "high": 0.3}
    (row,) = rows_of(page_of(study(seeds=seeds, gain_over_scratch=over)), "ham7")
    assert (row["from scratch"], row["gain over scratch"]) == ("0.500", "**+20.0 [+10.0, +30.0]**")


# --- which row a study is in ----------------------------------------------------------------------------------------


def of_method(name: str, **changes: Any) -> dict[str, Any]:
    """A study of KDLight's pair by a method, as its own recipe with another distill.method gives it."""
    said = {"name": name, "paper": f"Paper of {name}", "options": {}}
    return {"models": models_of("kdlight_nano"), "method": said, **changes}


def test_another_method_on_kdlights_pair_is_named_with_its_paper_and_is_no_kdlight(study: Kept) -> None:
    own = study("own", **of_method("feature"))
    page = page_of(own, study("dkd", **of_method("dkd")), study("rkd", **of_method("rkd")))
    assert "0.625 to" not in "".join(
        v for k, c in glance(page, "The systems").items() if "dkd" in k for v in c.values()
    )
    others = glance(page, "Other methods on KDLight's pair, mobilenetv2 to kdlight_nano")
    assert list(others) == ["KDLight, `feature`", "`dkd` (Paper of dkd)", "`rkd` (Paper of rkd)"]
    assert {row["system or method"] for row in rows_of(page, "ham7")} == {
        "KDLight, `feature`",
        "`dkd` (Paper of dkd) on KDLight's pair",
        "`rkd` (Paper of rkd) on KDLight's pair",
    }


@pytest.mark.parametrize("method", sorted(OF_METHOD))
def test_a_systems_own_method_fills_the_systems_row_and_says_on_whose_pair(study: Kept, method: str) -> None:
    page = page_of(study(**of_method(method)))
    name = f"{OF_METHOD[method]}, `{method}`"
    filled = {row for row, cells in glance(page, "The systems").items() if cells["ham7"]}
    assert filled == {f"{name}: mobilenetv2 to kdlight_nano"}
    assert "0.625 to 0.750 (of 0.800) †<br>" in page
    assert "† The row's method on the pair and schedule of KDLight, not on its own." in page
    assert rows_of(page, "ham7")[0]["system or method"] == f"{name} (on KDLight's pair and schedule)"
    assert "### Other methods" not in page
    for recipe in (n for n, r in recipes().items() if row_of_recipe(n, r).system == OF_METHOD[method]):
        assert f"by `{method}`; the method was run on KDLight's pair and schedule" in next(
            line for line in page.splitlines() if line.startswith(f"- `{recipe}`:")
        )


def test_a_systems_own_study_has_no_mark(study: Kept) -> None:
    page = page_of(study(**of_method("ssd_kd", recipe="ssd-kd")))
    assert "†" not in page
    assert glance(page, "The systems")["SSD-KD, `ssd_kd`: mobilenetv2 to kdlight_nano"]["ham7"]


def test_a_student_with_first_weights_of_its_own_is_a_row_of_its_own(study: Kept) -> None:
    models = models_of("kdlight_nano")
    models["student"]["start"] = "general"
    general = study("general", **of_method("feature", models=models))
    page = page_of(study("own", **of_method("feature")), general)
    rows = [row for row, cells in glance(page, "The systems").items() if cells["ham7"]]
    names = ["KDLight, `feature`", "KDLight, general first, `feature`"]
    assert rows == [f"{name}: mobilenetv2 to kdlight_nano" for name in names]
    assert {row["system or method"] for row in rows_of(page, "ham7")} == set(names)
    assert "A student that is *general first* begins with" in page
    shipped_init = recipes()["kdlight-ham7"].student.init
    assert ("-o student.init=general" in command_of(read(general))) == (shipped_init != "general")
    assert publish(read(general), general / "kept").name == "kdlight-ham7-general-feature.json"


def test_more_pixels_than_the_recipe_asks_for_are_a_row_of_their_own(study: Kept) -> None:
    size = recipes()["kdlight-ham7"].data.size
    models = models_of("kdlight_nano")
    plain, larger = (
        study(f"{px}", **of_method("feature", models=models, data={"name": "ham7", "size": px})) for px in (size, 192)
    )
    page = page_of(plain, larger)
    rows = [row for row, cells in glance(page, "The systems").items() if cells["ham7"]]
    assert rows == [f"KDLight{px}, `feature`: mobilenetv2 to kdlight_nano" for px in ("", ", 192 px")]
    assert "A row that names its *px* had more of them" in page
    assert "A row that names its *px*" not in page_of(plain)
    assert "-o data.size=192" in command_of(read(larger))
    assert publish(read(plain), plain / "kept") != publish(read(larger), plain / "kept")


def test_studies_of_one_row_on_one_set_say_in_what_they_differ(study: Kept) -> None:
    cells = [
        study(f"{dual}", **of_method("dual", method={"name": "dual", "options": {"dual": dual, "weight": 1.0}}))
        for dual in (False, True)
    ]
    page = page_of(*cells)
    names = {row["system or method"].partition("schedule, ")[2] for row in rows_of(page, "ham7")}
    assert names == {"dual false)", "dual true)"}
    assert "dual true:<br>0.625 to 0.750" in page


def test_a_study_that_did_less_than_its_recipe_says_so_wherever_it_stands(study: Kept) -> None:
    recipe = "explainable-vgg19"
    start = "random weights: pretrained ones could not be had (OSError)"
    models = {"teacher": {"architecture": "vgg19", "start": start}, "student": {"architecture": "ofa595"}}
    data = {"name": "cxr3", "modality": "ct", "size": 64}
    less = {"recipe": recipe, "data": data, "epochs": {"teacher": 2, "student": 30}}
    less["settings"] = {"data": {"labeled": 0.15}}
    less["method"] = {"name": "kd", "options": {}}
    said, row = "64 of 224 px, 2 of 10 teacher epochs, 15 % of the labels", "Explainable KD, `kd`: vgg19 to ofa595"
    page = page_of(study(**less, models={**models, "teacher": {"architecture": "vgg19", "start": "w.pth"}}))
    assert glance(page, "The systems")[row]["cxr3"].endswith(f"({said})")
    page = page_of(study(**less, models=models))
    assert rows_of(page, "cxr3")[0]["system or method"] == f"Explainable KD, `kd` ({said}, {NOT_AT_HAND})"
    assert "-o data.name=cxr3 -o data.modality=ct -o data.size=64 -o teacher.epochs=2" in page


NOT_AT_HAND = "not reproducible here: no pretrained weights"
AT_CHANCE = "not reproducible here: the teacher is no better than chance"


@pytest.mark.parametrize(
    ("start", "teacher", "images", "said"),
    [
        ({"start": "whatever it says", "start_kind": "random"}, 0.9, 498, NOT_AT_HAND),
        ({"start": "random weights: none", "start_kind": "file"}, 0.9, 498, ""),
        # half of 100 images by guessing, give or take 5: 60 of them are beyond two of those, 59 are not
        (
            {"start": "w.pth", "start_kind": "file"},
            0.59,
            100,
            "not reproducible here: the teacher is no better than chance",
        ),
        ({"start": "w.pth", "start_kind": "file"}, 0.60, 100, ""),
    ],
)
def test_a_teacher_that_is_not_the_published_one_reproduces_nothing(
    study: Kept, start: dict[str, str], teacher: float, images: int, said: str
) -> None:
    models = {"teacher": {"architecture": "mobilenetv2", **start}, "student": {"architecture": "kdlight_nano"}}
    seeds = [{"seed": seed, "teacher": teacher, "student": 0.7, "alone": 0.6} for seed in (0, 1)]
    data = {"name": "covid_ct", "classes": ["a", "b"], "images": {"test": images}}
    kept = {"recipe": "kdlight-covid_ct", "method": {"name": "feature"}, "models": models, "seeds": seeds, "data": data}
    page = page_of(study(**kept))
    row = glance(page, "The systems")["KDLight, `feature`: mobilenetv2 to kdlight_nano"]
    assert (row["covid_ct"] == said) if said else row["covid_ct"].startswith("0.600 to 0.700")
    assert (row["mean gain"] == "") == bool(said)
    assert ("`kdlight study kdlight-covid_ct -o data.path=DATA --seeds 3`" in page) == bool(said)


def test_only_a_proven_gain_is_called_the_largest_and_only_among_several(study: Kept) -> None:
    def cell(page: str, method: str) -> str:
        return next(c["ham7"] for name, c in glance(page, "Other methods").items() if name.startswith(f"`{method}`"))

    larger = {"value": 0.3, "low": -0.1, "high": 0.5}
    started = [{"seed": s, "teacher": 0.8, "student": 0.75, "alone": 0.625, "same_start": 0.73} for s in (0, 1)]
    over_same_start = {"gain_over_same_start": PAIRED, "seeds": started}
    one = study("dkd", **of_method("dkd", **over_same_start))
    assert "largest" not in cell(page_of(one), "dkd")
    page = page_of(one, study("rkd", **of_method("rkd", gain_over_alone=larger)))
    assert cell(page, "dkd").endswith("over the same start proven: +2.0 [+1.0, +3.0] points, 2 seeds, largest")
    assert "largest" not in cell(page, "rkd")
    assert "2 studies of two seeds or more are on this set: of as many methods that give nothing, 0.05" in page


def test_what_all_rows_of_a_set_share_is_told_once_and_the_best_stands_first(study: Kept) -> None:
    lesser = [{"seed": s, "teacher": 0.8, "student": 0.5, "alone": 0.6} for s in (0, 1)]
    lucky = [{"seed": 0, "teacher": 0.8, "student": 0.8, "alone": 0.6}]
    studies = [study("a", **of_method("dkd", seeds=lesser)), study("b", **of_method("rkd"))]
    page = page_of(*studies, study("c", **of_method("kd", seeds=lucky)))
    names = [row["system or method"][:5] for row in rows_of(page, "ham7")]
    assert names == ["`rkd`", "`dkd`", "`kd` "]  # one seed stands below, however good it looks
    assert section_of(page, "ham7")[0] == ("The same in all rows: models mobilenetv2 to kdlight_nano; test images 498.")
    assert not {"models", "test images"} & set(rows_of(page, "ham7")[0])


def test_a_pair_that_learned_together_is_told_below_its_table(study: Kept) -> None:
    seeds = [{"seed": 0, "teacher": 0.8, "student": 0.7, "alone": 0.6, "partner": 0.66, "ensemble": 0.72}]
    seeds += [{**seeds[0], "seed": 1}]
    gains = {
        f"gain_of_{n}": {"value": v, "low": -0.01, "high": 2 * v + 0.01}
        for n, v in (("partner", 0.06), ("ensemble", 0.12))
    }
    page = page_of(study(**of_method("dual", seeds=seeds), **gains))
    assert "the partner has 0.660 (+6.0 [-1.0, +13.0], not told from 0)" in page
    assert "the mean of both 0.720 (+12.0 [-1.0, +25.0], not told from 0)" in page
    kept = publish(read(study(**of_method("dual", seeds=seeds), **gains)), study("x") / "kept")
    assert [row.partner for row in read(kept).seeds] == [0.66, 0.66]
    assert None not in (read(kept).gain_of_partner, read(kept).gain_of_ensemble)


def test_the_methods_of_a_page_are_told_with_paper_and_words(study: Kept) -> None:
    found = collect([study(**of_method("dkd"))])
    part = results.write(found, "", methods()).partition("## The methods\n\n")[2].partition("\n\n")[0]
    assert part.startswith(f"- `dkd` ({METHODS['dkd'].paper}): ")
    assert len(part.splitlines()) == 1


# --- what was not run, and what is proven -----------------------------------------------------------------------------


def test_recipes_without_a_study_are_named_as_not_run(study: Kept) -> None:
    last = page_of(study()).partition("## What was not run")[2]
    assert "`kdlight-ham7`:" not in last
    for name in set(shipped()) - {"kdlight-ham7", "kdlight-synthetic", "kdlight-general"}:
        assert f"- `{name}`: " in last


def test_a_gain_is_bold_only_where_its_interval_lies_above_0(study: Kept) -> None:
    one = [{"seed": 0, "teacher": 0.8, "student": 0.7, "alone": 0.6}]
    spans = {"value": 0.01, "low": -0.01, "high": 0.03}
    unknown = {"value": 0.1, "low": None, "high": None}
    cases: list[dict[str, Any]] = [
        {},
        {"seeds": one},
        {"gain_over_alone": spans},
        {"gain_over_alone": {"value": -0.02, "low": -0.03, "high": -0.01}},
        {"gain_over_alone": unknown, "gain": "said by an older version"},
    ]
    assert [gain(read(study(f"{n}", **changes))) for n, changes in enumerate(cases)] == [
        "**+12.5 [+4.5, +20.5]**",
        "+12.5 [+4.5, +20.5], one seed",
        "+1.0 [-1.0, +3.0], not told from 0",
        "-2.0 [-3.0, -1.0], a loss",
        "not told from 0 (too few images for an interval)",
    ]
    page = page_of(study("b", seeds=one))
    assert page.endswith("\n\n1 of 1 studies have one seed only, which proves nothing.\n")


def test_the_aim_is_counted_from_the_records(study: Kept) -> None:
    scores = {"teacher": 0.8, "student": 0.725, "alone": 0.6, "same_start": 0.705}
    over_same_start = {"gain_over_same_start": PAIRED, "seeds": [{"seed": s, **scores} for s in (0, 1)]}
    nano = {"models": models_of("kdlight_nano"), "method": {"name": "feature"}, **over_same_start}
    near = [{"seed": s, **scores, "student": 0.795, "same_start": 0.775} for s in (0, 1)]
    close = {"seeds": near, "gap_to_teacher": {"value": -0.005, "low": -0.015, "high": 0.005}}
    below = {"gap_to_teacher": {"value": -0.075, "low": -0.12, "high": -0.03}}
    page = page_of(study("a", **nano, **below), study("b", **nano | close, data={"name": "busi3"}))
    assert rows_of(page, "ham7")[0]["taught minus teacher"] == "-7.5 [-12.0, -3.0], a loss"
    aim = next(line for line in page.splitlines() if line.startswith("Aim:"))
    reached = (
        "not worse by more than 2 points on 1 (busi3), below its teacher beyond chance on 1 (ham7); its gain proven "
        "on 2 (busi3, ham7)."
    )
    assert aim.endswith(f"is KDLight, `feature`: run on 2 (busi3, ham7); {reached}")
    other = of_method("dkd", data={"name": "lc_lung3"}, recipe="kdlight-lc_lung3", **over_same_start | close)
    page = page_of(study("a", **nano), study("b", **nano | close, data={"name": "busi3"}), study("c", **other))
    aim = next(line for line in page.splitlines() if line.startswith("Aim:"))
    assert "is KDLight, `feature`: run on 2 (busi3, ham7);" in aim
    assert "whichever of 2 rows did best on its test, which is kind to them: run on 3 (busi3, ham7, lc_lung3);" in aim
    assert aim.endswith("not worse by more than 2 points on 2 (busi3, lc_lung3); proven on 3 (busi3, ham7, lc_lung3).")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": "other/1"}, "is no record of a study"),
        ({"seeds": []}, "is broken"),
        (
            {"seeds": [{"seed": 0, "teacher": 0.8, "student": 7, "alone": 0.6}]},
            "student: Input should be less",
        ),
        ({"seeds": [{"seed": 0, "teacher": 0.8, "student": 0.7}]}, "alone"),
        ({"gain_over_alone": "much"}, "is broken"),
    ],
)
def test_a_broken_record_is_named(study: Kept, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordError, match=said) as found:
        read(study("bad", **changes))
    assert "bad/study.json" in str(found.value)


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(RecordError, match="not readable JSON"):
        read(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="holds no record"):
        collect([tmp_path / "empty"])


def test_a_card_tells_what_an_older_record_does_not(study: Kept) -> None:
    """The record of a shipped bundle's card, alone and beside the study that made it."""
    cards = sorted((ROOT / "assets" / "bundles").glob("*/card.json"))
    card = next(c for c in cards if "study" in json.loads(c.read_text(encoding="utf-8"))["metrics"])
    raw = json.loads(card.read_text(encoding="utf-8"))
    found = read(card)
    assert found.models.student.parameters == raw["student"]["parameters"]
    assert (found.data.images or {})["test"] == raw["metrics"]["n"]
    folder = study("with", **{**raw["metrics"]["study"], "minutes": None})
    (folder / "bundle").mkdir()
    (folder / "bundle" / "card.json").write_text(json.dumps(raw))
    assert read(folder).models.teacher.bytes == raw["teacher"]["bytes"]
    assert read(folder).mean == found.mean


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
    assert rows_of(page, "ham7")[0]["latency, ms"] == "12 / 2"
    assert "one image of 128 px (teacher, ONNX Runtime; student, ONNX Runtime), 1 of 2 cores of A processor." in page
    del found["rows"][1]  # type: ignore[attr-defined]
    (folder / "latency.json").write_text(json.dumps(found))
    assert rows_of(page_of(folder), "ham7")[0]["latency, ms"] == "30 / 2"


def test_keeping_drops_folders_replaces_the_same_row_and_spares_another(study: Kept, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    method = {"name": "kd", "options": {"weights": "/home/someone/w.safetensors", "alpha": 0.3}}
    folder = study(method=method, host="somewhere")
    first = publish(read(folder), kept)
    text = first.read_text(encoding="utf-8")
    assert "someone" not in text
    assert "somewhere" not in text
    assert read(first).mean == read(folder).mean
    assert publish(read(folder), kept) == first
    other = {"name": "kd", "options": {"alpha": 0.9}}
    assert publish(read(study("other", method=other)), kept) != first
    assert len(list(kept.glob("*.json"))) == 2


def test_a_study_with_fewer_labels_replaces_no_whole_one_and_other_seeds_do(study: Kept, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    told = {"data": {"labeled": 1.0}, "train": {"lr": 0.002, "seed": 0, "alone": True, "scratch": True}}
    whole = publish(read(study(settings=told)), kept)
    told["train"] |= {"seed": 3, "scratch": False, "lr_of_a_later_version": 1}
    assert publish(read(study("seeds", settings=told)), kept) == whole
    told["data"] = {"labeled": 0.15}
    assert publish(read(study("few", settings=told)), kept) != whole


def test_the_command_names_what_was_run_otherwise_and_is_understood(study: Kept) -> None:
    from typer.main import get_command

    from kdlight.cli import app

    method = {"name": "kd", "options": {"alpha": 0.25, "temperature": 2.0}}
    record = read(study(models=models_of("kdlight_small"), method=method, data={"name": "ham7", "size": 64}))
    words = shlex.split(command_of(record, {"kd": {"alpha": 0.7, "temperature": 2.0}}))
    given = {words[i + 1] for i, word in enumerate(words) if word == "-o"}
    expected = {"data.size=64", "student.name=kdlight_small", "distill.method=kd", "distill.alpha=0.25"}
    assert expected <= given
    assert "distill.temperature=2.0" not in given  # the method's own
    assert "teacher.weights=WEIGHTS" in given
    assert words[-2:] == ["--seeds", "2"]
    with get_command(app).commands["study"].make_context("study", words[2:]) as context:  # type: ignore[attr-defined]
        assert context.params["seeds"] == 2


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("kdlight-ham7", ("train.views=0", "train.label_smoothing=0.1", "student.selection=consecutive")),
        ("skin-student", ('data.stages=["hair", "gamma"]', "data.window=", "teacher.mixup=0.4")),
        ("kdlight-busi3", ("distill.method=dkd", "distill.beta=4.0", "train.scratch=false", "train.seed=3")),
    ],
)
def test_the_command_of_a_record_with_its_settings_makes_the_same_recipe(
    study: Kept, name: str, changes: tuple[str, ...]
) -> None:
    ran = open_recipe(Path(name), list(changes))
    own = hyperparameters(METHODS[ran.distill.method])
    said = {"name": ran.distill.method, "options": {**own, **ran.distill.options}}
    models = {"teacher": {"architecture": ran.teacher.name}, "student": {"architecture": ran.student.name}}
    seeds = [{"seed": ran.train.seed, "teacher": 0.8, "student": 0.7, "alone": 0.6}]
    told = {"recipe": name, "method": said, "settings": settings(ran), "models": models, "seeds": seeds}
    record = read(study(**told, data={"name": ran.name}))
    words = shlex.split(command_of(record, {ran.distill.method: own}))
    given = [words[i + 1] for i, word in enumerate(words) if word == "-o" and words[i + 1] != "data.path=DATA"]
    again = open_recipe(Path(words[2]), given)
    assert settings(again) == settings(ran)
    assert (again.distill.method, {**own, **again.distill.options}) == (said["name"], said["options"])


def test_the_settings_of_a_study_without_them_are_on_its_bundles_card(study: Kept) -> None:
    card = next((ROOT / "assets" / "bundles").glob("*/card.json"))
    folder = study(**of_method("ssd_kd"))
    (folder / "bundle").mkdir()
    raw = json.loads(card.read_text(encoding="utf-8"))
    raw["distillation"]["recipe"] = recipes()["kdlight-ham7"].to_toml()
    (folder / "bundle" / "card.json").write_text(json.dumps(raw))
    found = read(folder)
    assert found.settings == settings(recipes()["kdlight-ham7"])
    assert found.method.name == "ssd_kd"
    raw["distillation"]["recipe"] += "\nmagic = 1\n"  # of another version
    (folder / "bundle" / "card.json").write_text(json.dumps(raw))
    assert read(folder).settings == {}


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
    assert main([str(study()), "--keep", str(kept)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["studies"][0]["gain"] == "+12.5 [+4.5, +20.5]"
    assert main([str(kept), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8").endswith("Trained on two cores.\n")
    assert main([str(tmp_path / "none")]) == 2
    assert "No such file" in capsys.readouterr().err


# --- the same student from the same starting weights ------------------------------------------------------------------


def of_start(init: str, method: str = "feature", **changes: Any) -> dict[str, Any]:
    models = models_of("kdlight_nano")
    models["student"]["start"] = init
    return {"models": models, "method": {"name": method, "options": {}}, **changes}


PAIRED = {"value": 0.02, "low": 0.01, "high": 0.03}
SPANS = {"value": 0.02, "low": -0.01, "high": 0.05}
ALIKE, APART = (
    [
        {"seed": s, "teacher": 0.8, "student": 0.75, "alone": 0.6, "same_start": 0.73 + way * apart}
        for s, way in ((0, 1), (1, -1))
    ]
    for apart in (0, 0.05)
)


@pytest.mark.parametrize(
    ("changes", "said", "proven"),
    [
        (of_start("selection"), "proven: +12.5 [+4.5, +20.5] points", True),
        (of_start("random", gain_over_alone=SPANS), "not proven: +2.0 [-1.0, +5.0] points", False),
        (of_start("general"), "not compared with the same student from the same starting weights", False),
        (of_start("teacher"), "not compared with the same student from the same starting weights", False),
        ({}, "not compared with the same student from the same starting weights", False),
        (of_start("general", gain_over_same_start=PAIRED, seeds=ALIKE), "proven: +2.0 [+1.0, +3.0] points", True),
        (of_start("general", gain_over_same_start=SPANS, seeds=ALIKE), "not proven: +2.0 [-1.0, +5.0] points", False),
        (
            of_start("general", gain_over_same_start=PAIRED, seeds=APART),
            "not proven: +2.0 [-58.8, +62.8] points; +2.0 [+1.0, +3.0] on these test images",
            False,
        ),
        (of_start("general", "alone"), "this student has no teacher: what it gained are its starting weights", False),
    ],
)
def test_a_gain_is_proven_only_over_the_same_student_from_the_same_starting_weights(
    study: Kept, changes: dict[str, Any], said: str, proven: bool
) -> None:
    record = read(study(**changes))
    assert over_same_start(record).words == said
    assert over_same_start(record).proven is proven


def test_one_seed_proves_nothing_over_the_same_start_either(study: Kept) -> None:
    one = [{"seed": 0, "teacher": 0.8, "student": 0.7, "alone": 0.6}]
    record = read(study(**of_start("selection", seeds=one)))
    assert over_same_start(record).words == "not proven: +12.5 [+4.5, +20.5] points, one seed"
    assert not over_same_start(record).proven


def test_the_baseline_is_taken_from_a_study_without_a_teacher_without_an_interval(study: Kept) -> None:
    untaught = [{"seed": s, "teacher": 0.8, "student": score, "alone": 0.6} for s, score in ((0, 0.69), (1, 0.79))]
    taught = read(study("taught", **of_start("general")))
    alone = read(study("alone", **of_start("general", "alone", seeds=untaught)))
    found = with_baseline(taught, [taught, alone])
    assert found.mean.same_start == pytest.approx(0.74)
    assert over_same_start(found).words == "not proven: +1.0 points, without an interval"
    assert [row.same_start for row in found.seeds] == [0.69, 0.79]
    others = {
        "another set": of_start("general", "alone", data={"name": "busi3"}),
        "other weights": of_start("random", "alone"),
        "another teacher": of_start("general"),
        "other seeds": of_start("general", "alone", seeds=[{**untaught[0], "seed": 7}, untaught[1]]),
        "other pixels": of_start("general", "alone", data={"name": "ham7", "size": 192}),
    }
    for name, changes in others.items():
        assert with_baseline(taught, [read(study(name, **changes))]) is taught, name
    assert with_baseline(alone, [alone]) is alone


def test_the_page_names_the_baseline_beside_every_gain(study: Kept) -> None:
    untaught = [{"seed": s, "teacher": 0.8, "student": 0.74, "alone": 0.6} for s in (0, 1)]
    studies = [study("taught", **of_start("general")), study("alone", **of_start("general", "alone", seeds=untaught))]
    page = page_of(*studies, study("teacher", **of_start("teacher", "kd")))
    rows = {row["system or method"].partition("`")[2].partition("`")[0]: row for row in rows_of(page, "ham7")}
    assert rows["feature"]["same starting weights, alone"] == "0.740"
    assert rows["feature"]["gain over those"] == "not proven: +1.0 points, without an interval"
    assert rows["kd"]["gain over those"] == NOT_COMPARED
    assert rows["alone"]["gain over those"] == NO_TEACHER
    assert "its gain proven on none" in page


def test_the_cards_of_shipped_bundles_can_be_filled_from_the_published_records(study: Kept, bundle_copy: Path) -> None:
    script = runpy.run_path(str(ROOT / "tools" / "fill_cards.py"))
    untaught = [{"seed": s, "teacher": 0.8, "student": 0.74, "alone": 0.6} for s in (0, 1)]
    taught = json.loads((study("taught", **of_start("general")) / "study.json").read_text())
    alone = read(study("alone", **of_start("general", "alone", seeds=untaught)))
    card = load(bundle_copy).card
    record = StudyRecord.model_validate(taught)
    write_card(bundle_copy, card.replace(metrics=card.metrics.replace(study=record)))
    seal(bundle_copy)
    assert script["fill"](bundle_copy, [alone]) is True
    filled = load(bundle_copy).card
    assert (filled.metrics.at_chance, filled.teacher.start_kind) == ((), "random")
    found = read(bundle_copy / "card.json")
    assert over_same_start(found).words == "not proven: +1.0 points, without an interval"
    assert found.mean.same_start == pytest.approx(0.74)
    assert filled.limits[-1].endswith(
        "(gain +12.5 [+4.5, +20.5] points). Against the same student from the same starting weights without its "
        "teacher: not proven: +1.0 points, without an interval."
    )
    assert script["fill"](bundle_copy, [alone]) is False  # nothing is lacking any more


def test_a_cross_validation_is_told_as_folds_over_all_images(study: Kept, tmp_path: Path) -> None:
    gaps = (-0.02, -0.01, -0.03, -0.02, -0.02)
    seeds = [
        {"seed": n, "teacher": 0.8, "student": 0.8 + g, "alone": 0.7, "same_start": 0.75} for n, g in enumerate(gaps)
    ]
    data = {"name": "ham7", "images": {"train": 300, "val": 60, "calibration": 40, "test": 100}}
    near = {"value": -0.02, "low": -0.03, "high": -0.01}
    gains = {"gap_to_teacher": near, "gain_over_same_start": {"value": 0.03, "low": 0.01, "high": 0.05}}
    folded = study("folds", folds=5, teachers=5, seeds=seeds, data=data, **gains)
    record = read(folded)
    assert (record.tested, record.runs) == (500, "5 folds")
    (row,) = rows_of(page_of(folded), "ham7")
    assert (row["trainings"], row["test images"]) == ("5 folds", "500")
    assert "--folds 5`" in page_of(folded)
    assert "--seeds 5" not in page_of(folded)
    assert publish(record, tmp_path / "kept").name == "kdlight-ham7-5-folds.json"
    assert publish(read(study("seeds")), tmp_path / "kept").name == "kdlight-ham7.json"  # beside it, not over it
    (line,) = [folds_table.row(one) for one in folds_table.records(tmp_path / "kept")]
    assert line[:6] == ["`ham7`", "500", "0.800", "0.780", "0.750", "0.700"]
    assert "a loss" in line[6]
    assert line[7] == "not shown"  # -2 is within the margin, its lower bound is not
    assert folds_table.summary([record]).startswith("Over the 1 sets the student is -2.0 points")
