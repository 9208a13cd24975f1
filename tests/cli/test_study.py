"""study: seeds that are trained once, an answer that pairs them, and a folder that is not mixed up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdlight import bundle
from kdlight.bundle.study_record import StudyRecord, in_words

Run = Callable[..., Any]
RECIPE = "kdlight-synthetic"


@pytest.mark.slow
def test_a_study_pairs_its_seeds_and_goes_on_without_training_twice(kdlight: Run, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from kdlight.models import create_model

    torch.manual_seed(0)
    save_file(create_model("mobilenetv2", 3).state_dict(), tmp_path / "start.safetensors")
    few = ("train.epochs=1", "teacher.epochs=1", "data.size=32", f"teacher.weights={tmp_path / 'start.safetensors'}")
    options = [part for text in few for part in ("-o", text)]
    first = kdlight("study", RECIPE, "--seeds", "1", *options, "--out", tmp_path / "study", "--json")
    assert first.status == 0, first.err
    assert len(first.json["seeds"]) == 1
    teacher = (tmp_path / "study/seed-0/teacher.safetensors").read_bytes()
    log = (tmp_path / "study/seed-0/log.jsonl").read_text()
    second = kdlight("study", RECIPE, "--seeds", "2", *options, "--out", tmp_path / "study", "--json")
    assert second.status == 0, second.err
    assert (tmp_path / "study/seed-0/log.jsonl").read_text() == log
    assert (tmp_path / "study/seed-1/teacher.safetensors").read_bytes() == teacher
    assert [row["seed"] for row in second.json["seeds"]] == [0, 1]
    assert second.json["seeds"][0] == first.json["seeds"][0]
    assert second.json["mean"]["student"] == pytest.approx(sum(r["student"] for r in second.json["seeds"]) / 2)
    record = StudyRecord.model_validate(second.json)
    assert second.json["gain"] == in_words(record.over("alone"))
    assert second.json["gain_over_alone"]["value"] == pytest.approx(record.over("alone").value)  # type: ignore[union-attr]
    assert bundle.load(second.json["bundle"]).card.metrics.study.to_json()["seeds"] == second.json["seeds"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, Any]]:
    """No training: what would have been studied is noted by its name and recipe, and a record written."""
    import kdlight.studies.run

    noted: list[tuple[str, Any]] = []

    def study(recipe: Any, folder: Path, seeds: int, others: Any = (), name: str = "", folds: int = 0) -> Any:
        noted.append((name, recipe))
        scores = {"teacher": 0.9, "student": 0.8, "alone": 0.7}
        found = {"recipe": name, "metric": "m", "mean": scores, "seeds": [{"seed": 0, **scores}], "gain": "none"}
        found |= {"schema": "kdlight.study/1", "gain_over_alone": None}
        (folder / "study.json").write_text(json.dumps(found), encoding="utf-8")
        return iter(())

    monkeypatch.setattr(kdlight.studies.run, "execute", study)
    monkeypatch.setenv("KDLIGHT_RUNS", str(tmp_path / "runs"))
    return noted


def test_recipes_of_one_set_have_each_a_folder_and_a_name(kdlight: Run, quick: list[Any], tmp_path: Path) -> None:
    for name in ("kdlight-ham7", "ssd-kd", "crckd"):
        said = kdlight("study", name, "--json")
        assert said.json["recipe"] == name
        assert Path(said.json["study"]) == tmp_path / "runs" / f"study-{name}"
    mine = tmp_path / "my own.toml"
    mine.write_text('[data]\npath = "x"\nmodality = "mri"\n', encoding="utf-8")
    assert kdlight("study", mine, "--json").json["recipe"] == "my_own"


def test_a_studys_own_copy_keeps_the_recipes_name_and_is_the_same_recipe(
    kdlight: Run, quick: list[Any], tmp_path: Path
) -> None:
    first = kdlight("study", "ssd-kd", "-o", "train.epochs=3", "--json").json
    kept = Path(first["study"]) / "recipe.toml"
    again = kdlight("study", kept, "--json").json
    assert (again["study"], again["recipe"]) == (first["study"], "ssd-kd")
    assert quick[0] == quick[1]
    older = kept.read_text(encoding="utf-8").partition("\n")[2].replace('weights_licence = "MIT"\n', "")
    kept.write_text(older.replace("views = 0\n", ""), encoding="utf-8")  # by a version that knew neither
    assert kdlight("study", "ssd-kd", "-o", "train.epochs=3").status == 0
    assert kdlight("study", kept, "--json", "--out", tmp_path / "other").json["recipe"] == "ham7"


def test_a_folder_of_something_else_is_refused(kdlight: Run, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    said = kdlight("study", RECIPE, "--out", tmp_path)
    assert said.status == 2
    assert "holds no study" in said.err


def test_a_study_of_another_recipe_is_not_mixed_in(kdlight: Run, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[data]\n")
    said = kdlight("study", RECIPE, "--out", tmp_path)
    assert said.status == 2
    assert "another recipe" in said.err


def test_a_study_that_learned_nothing_can_be_begun_anew(kdlight: Run, tmp_path: Path) -> None:
    out = tmp_path / "study"
    assert "does not exist" in kdlight("study", RECIPE, "-o", f"data.path={tmp_path / 'none'}", "--out", out).err
    said = kdlight("study", RECIPE, "-o", f"data.path={tmp_path / 'neither'}", "--out", out).err
    assert "neither does not exist" in said
    (out / "seed-0" / "log.jsonl").write_text("{}")
    assert "another recipe" in kdlight("study", RECIPE, "--out", out).err


@pytest.mark.slow
def test_a_grid_studies_every_combination_with_one_teacher(kdlight: Run, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from kdlight.models import create_model

    torch.manual_seed(0)
    save_file(create_model("mobilenetv2", 3).state_dict(), tmp_path / "start.safetensors")
    few = ("train.epochs=1", "teacher.epochs=1", "data.size=32", f"teacher.weights={tmp_path / 'start.safetensors'}")
    options = [part for text in few for part in ("-o", text)]
    grid = ("--grid", "distill.self_distill=false,true")
    recipe = tmp_path / "dual.toml"
    tables = '[data]\npath = "synthetic"\nmodality = "mri"\n[distill]\nmethod = "dual"\ndual = false\n'
    recipe.write_text(tables, encoding="utf-8")
    said = kdlight("study", recipe, "--seeds", "1", *options, *grid, "--out", tmp_path / "study", "--json")
    assert said.status == 0, said.err
    without, with_it = (f"distill.self_distill={value}" for value in ("false", "true"))
    assert [cell["name"] for cell in said.json["cells"]] == [without, with_it]
    for shared in ("teacher", "alone"):
        one, two = (tmp_path / "study" / cell / "seed-0" / f"{shared}.safetensors" for cell in (without, with_it))
        assert one.read_bytes() == two.read_bytes()
    assert said.json["cells"][0]["mean"]["alone"] == said.json["cells"][1]["mean"]["alone"]
    assert [(d["first"], d["second"]) for d in said.json["differences"]] == [(with_it, without)]
    again = kdlight("study", recipe, "--seeds", "1", *options, *grid, "--out", tmp_path / "study")
    assert again.status == 0, again.err
    assert "over the student alone" in again.out
    assert "seed 0" not in again.err


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ("distill.magic=1,2", "distill.magic is not known"),
        ("train.magic=1,2", "train.magic"),
        ("train.epochs=many,few", "a whole number from 1 to 10000 was expected"),
        ("distill.alpha=0.5,2", "distill.alpha is 2; a number from 0 to 1"),
        ("distill.alpha", "two values or more"),
    ],
)
def test_a_grid_of_unknown_keys_or_values_is_refused_and_nothing_written(
    kdlight: Run, tmp_path: Path, grid: str, says: str
) -> None:
    said = kdlight("study", RECIPE, "--grid", grid, "--out", tmp_path / "study")
    assert said.status == 2
    assert says in said.err
    assert not (tmp_path / "study").exists()
