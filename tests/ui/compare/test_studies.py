"""Compare's studies: what is said first, what is drawn, and what is left out with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from kdlight import bundle as bundles
from kdlight.studies import read
from kdlight.studies.gains import over_same_start
from kdlight.ui.compare import studies
from tests.ui.conftest import page, said

SEEDS = [
    {"seed": 0, "teacher": 0.9, "student": 0.85, "alone": 0.8},
    {"seed": 1, "teacher": 0.9, "student": 0.87, "alone": 0.81},
]


def write(root: Path, name: str = "study-tiny", **changes: Any) -> Path:
    """A study's folder among the runs."""
    folder = root / name
    folder.mkdir(parents=True)
    record = {
        "schema": "kdlight.study/1",
        "recipe": "tiny",
        "data": {"name": "tiny", "title": "Tiny MRI", "size": 64, "images": {"test": 60}},
        "seeds": SEEDS,
        "gain_over_alone": {"value": 0.055, "low": 0.01, "high": 0.1},
        "gap_to_teacher": {"value": -0.04, "low": -0.08, "high": 0.0},
        "gain": "gain +5.5 [+1.0, +10.0]",
        "mcnemar_p": 0.5,
        "mcnemar_pooled_p": 0.0214,
        "models": {
            "teacher": {"architecture": "mobilenetv2", "parameters": 2_228_996, "bytes": 4_550_536},
            "student": {"architecture": "kdlight_nano", "parameters": 207_444, "bytes": 449_000, "start": "teacher"},
        },
        "method": {"name": "kd", "options": {"alpha": 0.7}},
        "epochs": {"teacher": 2, "student": 4, "alone": 4},
        "minutes": {"teacher": 1.5, "student": 3.0, "alone": None},
    }
    (folder / "study.json").write_text(json.dumps({**record, **changes}), encoding="utf-8")
    return folder


@pytest.fixture
def runs(library: Path) -> Path:
    return library.parent / "runs"


def studies_view(app: AppTest) -> AppTest:
    """Compare, with its other view taken."""
    page(app, "compare")
    return app.sidebar.segmented_control[0].set_value("Studies").run()


def test_without_a_study_the_command_that_makes_one_is_shown(app: AppTest) -> None:
    text = said(studies_view(app))
    assert not app.exception
    assert "No study is on this machine yet" in text
    assert app.code[0].value == studies.MAKES_ONE
    assert not app.get("vega_lite_chart")


def test_a_study_says_its_gain_first_and_draws_every_seed(app: AppTest, runs: Path) -> None:
    write(runs)
    text = said(studies_view(app))
    assert not app.exception
    assert f"<b>Gain {points(runs)} points.</b>" in text
    assert "0.96 of its teacher&#39;s balanced accuracy (0.86 of 0.90)" in text
    assert "Tiny MRI, MobileNetV2 to kdlight nano, kd \\(alpha 0.7\\), 64 px" in text
    assert "p = 0.021, pooled over seeds that answered the same images: too sure, the interval decides." in text
    assert "2 student seeds, one teacher, 60 test images." in text
    assert len(app.get("vega_lite_chart")) == 2
    assert '<tr><th scope="row">Seed 1</th><td>0.90</td><td>0.81</td><td>0.87</td><td>+6.0</td></tr>' in text
    assert '<tr><th scope="row">Mean</th><td>0.90</td><td>0.81</td><td>0.86</td><td>+5.5</td></tr>' in text
    assert '<th scope="row">Training</th><td>2 min</td><td>-</td><td>3 min</td>' in text
    assert app.code[0].value.startswith("kdlight study RECIPE")


def test_a_cross_validation_has_a_teacher_in_each_fold(tmp_path: Path) -> None:
    folded = read(write(tmp_path, folds=2, data={"name": "tiny", "images": {"train": 60, "val": 20, "test": 20}}))
    said = studies.rests_on(folded)
    assert "2 folds, a teacher in each, 100 test images." in said
    assert "too sure" not in said
    assert "in the training of teacher and student." in str(studies.verdict(folded))
    assert "Fold 1" in str(studies.seeds_table(folded))


def test_an_older_record_has_the_test_of_its_first_seed(tmp_path: Path) -> None:
    older = read(write(tmp_path, mcnemar_pooled_p=None))
    assert "taught against alone: p = 0.50, first seed." in studies.rests_on(older)
    one = read(write(tmp_path, "one", seeds=SEEDS[:1]))
    assert "taught against alone: p = 0.021." in studies.rests_on(one)


def test_a_pair_that_learned_together_shows_both_and_their_mean(app: AppTest, runs: Path) -> None:
    gains = {f"gain_of_{name}": {"value": 0.02, "low": 0.0, "high": 0.04} for name in ("partner", "ensemble")}
    seeds = [{**row, "partner": 0.83, "ensemble": 0.88} for row in SEEDS]
    write(runs, seeds=seeds, method={"name": "dual", "options": {}}, **gains)
    text = said(studies_view(app))
    assert not app.exception
    assert '<th class="student" scope="col">Student, taught</th><th scope="col">Its partner</th>' in text
    assert "<td>0.90</td><td>0.81</td><td>0.87</td><td>0.83</td><td>0.88</td><td>+6.0</td>" in text
    assert '<tr><th scope="row">Training</th><td>2 min</td><td>-</td><td>3 min</td></tr>' in text
    rows = studies.differences(read(runs / "study-tiny"))
    assert [row["name"] for row in rows] == [
        "taught minus alone",
        "partner minus alone",
        "mean of both minus alone",
        "taught minus teacher",
    ]


def points(root: Path) -> str:
    """The gain over the student alone of the study below `root`, with chance in images and training."""
    gain = read(root / "study-tiny").over("alone")
    assert gain is not None
    return f"{gain.points:+.1f}"


SPAN = {"value": 0.01, "low": -0.02, "high": 0.04}


def test_a_gain_over_the_student_alone_that_spans_0_is_told_as_that(app: AppTest, runs: Path) -> None:
    write(runs, gain_over_alone=SPAN)
    assert points(runs).startswith("+1.0 [-")
    assert f"<b>Not told from 0: {points(runs)} points.</b>" in said(studies_view(app))


def test_a_gain_is_told_against_the_same_starting_weights_too(app: AppTest, runs: Path) -> None:
    write(runs)
    text = said(studies_view(app))
    assert "The first figure is over the student alone" in text
    assert "Not compared with the same student from the same starting weights." in text
    assert 'class="kd-verdict"' in text  # nothing is proven


def test_the_baseline_of_the_same_start_is_shown_with_its_interval(app: AppTest, runs: Path) -> None:
    seeds = [{**row, "same_start": row["student"] - 0.02} for row in SEEDS]
    write(runs, seeds=seeds, gain_over_same_start={"value": 0.02, "low": 0.01, "high": 0.03})
    text = said(studies_view(app))
    assert not app.exception
    assert "without its teacher: proven: +2.0 [+1.0, +3.0] points." in text
    assert 'class="kd-verdict differ"' in text
    assert '<th scope="col">Student, same start</th>' in text
    rows = studies.differences(read(runs / "study-tiny"))
    assert [row["name"] for row in rows][:2] == ["taught minus alone", "taught minus same start"]


def test_another_study_without_a_teacher_gives_the_baseline(app: AppTest, runs: Path) -> None:
    student = {"architecture": "kdlight_nano", "start": "general"}
    models = {"teacher": {"architecture": "mobilenetv2"}, "student": student}
    write(runs, models=models)
    untaught = [{**row, "student": 0.85} for row in SEEDS]
    write(runs, "study-without", models=models, seeds=untaught, method={"name": "alone", "options": {}})
    found, _ = studies.find()
    taught = next(record for record in found.values() if record.method.name == "kd")
    assert "without an interval" in over_same_start(taught).words


def test_one_seed_proves_nothing_whatever_its_interval(app: AppTest, runs: Path) -> None:
    write(runs, seeds=SEEDS[:1])
    text = said(studies_view(app))
    assert not app.exception
    assert "<b>One seed proves nothing.</b>" in text
    assert "--seeds 3" in text
    assert 'scope="row">Mean' not in text


def test_a_broken_record_is_named_and_the_others_are_shown(app: AppTest, runs: Path) -> None:
    write(runs)
    write(runs, "study-odd", seeds=[{"seed": 0}])
    (runs / "study-torn").mkdir()
    (runs / "study-torn" / "study.json").write_text("{", encoding="utf-8")
    text = said(studies_view(app))
    assert not app.exception
    assert len(app.warning) == 2
    assert "study-odd/study.json is broken" in text
    assert "study-torn/study.json is not readable JSON" in text
    assert "Gain +5.5" in text


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"schema": "kdlight.study/1", "seeds": NaN}', b"\xff\xfe", b" " * 10_000_000, b"[1]", b""],
    ids=["nested without end", "no number", "no text", "10 MB", "a list", "nothing"],
)
@pytest.mark.parametrize("name", ["study.json", "grid.json"])
def test_an_odd_record_is_told_and_stops_no_page(app: AppTest, runs: Path, name: str, content: bytes) -> None:
    write(runs)
    (runs / "odd").mkdir()
    (runs / "odd" / name).write_bytes(content)
    (runs / "folder" / name).mkdir(parents=True)
    text = said(studies_view(app))
    assert not app.exception
    assert len(app.warning) == 2
    assert f"odd/{name} is" in text
    assert "Gain +5.5" in text


def test_what_an_older_record_lacks_is_a_dash(app: AppTest, runs: Path) -> None:
    lacking: dict[str, Any] = dict.fromkeys(
        ("models", "method", "epochs", "minutes", "mcnemar_p", "mcnemar_pooled_p", "data", "gap_to_teacher")
    )
    write(runs, **lacking)
    text = said(studies_view(app))
    assert not app.exception
    assert '<th scope="row">Parameters</th><td>-</td><td>-</td><td>-</td>' in text
    assert "p = " not in text
    assert app.sidebar.selectbox[0].options == ["tiny"]


def test_too_few_images_for_an_interval_are_said_without_a_chart_of_it(app: AppTest, runs: Path) -> None:
    write(runs, gain_over_alone=None, gap_to_teacher=None)
    text = said(studies_view(app))
    assert not app.exception
    assert "<b>Not told from 0 (too few images for an interval).</b>" in text
    assert len(app.get("vega_lite_chart")) == 1


def test_a_student_from_scratch_has_its_own_column(app: AppTest, runs: Path) -> None:
    write(runs, seeds=[{**row, "scratch": 0.7} for row in SEEDS])
    text = said(studies_view(app))
    assert not app.exception
    assert "Student from scratch" in text
    assert "<td>0.90</td><td>0.81</td><td>0.70</td><td>0.87</td><td>+6.0</td>" in text


def test_the_choice_of_a_study_stays_when_another_comes(app: AppTest, runs: Path) -> None:
    write(runs)
    write(
        runs,
        "study-z",
        data={"name": "z", "title": "Other"},
        seeds=[{**row, "alone": row["student"] - 0.09} for row in SEEDS],
        gain_over_alone={"value": 0.09, "low": 0.01, "high": 0.17},
    )
    studies_view(app)
    app.sidebar.selectbox[0].select("Other · kd").run()
    assert "Gain +9.0" in said(app)
    write(runs, "study-a", data={"name": "a", "title": "A first one"})
    assert "Gain +9.0" in said(app.run())


def test_a_study_on_a_bundles_card_is_found(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = read(write(tmp_path / "runs"))
    card = json.loads((library / "tiny_mri" / "card.json").read_text(encoding="utf-8"))
    card["metrics"]["study"] = record.to_json()
    (library / "tiny_mri" / "card.json").write_text(json.dumps(card), encoding="utf-8")
    bundles.seal(library / "tiny_mri")
    found, broken = studies.find()
    assert list(found) == ["Tiny MRI · kd", "Tiny MRI · kd (library)"]
    assert broken == []
    monkeypatch.setattr(bundles.artifact, "shipped_folder", lambda: library)
    assert "Tiny MRI · kd (shipped)" in studies.find()[0]


def test_differences_are_in_points(tmp_path: Path) -> None:
    rows = studies.differences(read(write(tmp_path)))
    assert [row["name"] for row in rows] == ["taught minus alone", "taught minus teacher"]
    assert [round(row["value"], 6) for row in rows] == [5.5, -4.0]
    assert rows[0]["words"] == points(tmp_path)
    assert (rows[0]["low"], rows[1]["low"]) < (1.0, -8.0)  # chance in the training is in it


def test_an_ablation_is_a_table_of_its_cells(app: AppTest, runs: Path) -> None:
    score = {"teacher": 0.9, "alone": 0.8, "student": 0.85}
    cells = [
        {"name": f"dual={v}", "values": {"distill.dual": v}, "seeds": SEEDS, "mean": score, "gain_over_alone": SPAN}
        | {"gain": f"not told from 0: {gain}"}
        for v, gain in (("false", "+1.0 [-2.0, +4.0]"), ("true", "+2.0 [-2.0, +4.0]"))
    ]
    gap = {"first": "dual=true", "second": "dual=false", "difference": None, "words": "not told from 0: +0.1 [-1, +1]"}
    record = {"schema": "kdlight.grid/1", "recipe": "tiny", "keys": ["distill.dual"], "cells": cells}
    for name, changes in (("grid", {}), ("grid-torn", {"cells": [{}]})):
        (runs / name).mkdir(parents=True)
        (runs / name / "grid.json").write_text(json.dumps({**record, "differences": [gap], **changes}))
    text = said(studies_view(app))
    assert not app.exception
    assert app.sidebar.selectbox[0].options == ["Ablation: tiny · distill.dual"]
    row = '<th scope="row">true</th><td>0.90</td><td>0.80</td><td>0.85</td><td>not told from 0: +2.0 [-2.0, +4.0]</td>'
    assert row in text
    assert "not told from 0: +0.1 [-1, +1]" in text
    assert "not compared with the same student from the same starting weights" in text
    assert "grid-torn/grid.json is broken" in text
