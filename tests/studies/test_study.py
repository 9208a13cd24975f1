"""The gain is what an independent count says, and it is called proven only when its interval leaves out 0."""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sklearn.metrics import balanced_accuracy_score

from kdlight import bundle as bundles
from kdlight import runs, training
from kdlight.bundle import load
from kdlight.bundle.study_record import SCHEMA, SeedScores, StudyRecord, in_words
from kdlight.contracts.recipe import DistillConfig, Recipe, RecipeError
from kdlight.distillers import create_distiller
from kdlight.inference.golden import check
from kdlight.metrics import Interval, balanced_accuracy, difference
from kdlight.runs import EpochRecord, Phase
from kdlight.studies import grid as grids
from kdlight.studies.run import TEACHER, execute, inherit, publish, take
from kdlight.studies.summary import apart, summarize
from kdlight.training import Arrays, RunData
from kdlight.training.phases import PARTNER, Phases, student_schedule
from tests.distillers.small import Small
from tests.epochs import epoch

RECIPE = Recipe(**{"data": {"path": "x", "modality": "mri"}})


def answers(folder: Path, right: dict[str, float], seed: int) -> runs.Run:
    """A finished run of 120 images, each model right on its share of them."""
    run = runs.create(RECIPE, path=folder / f"seed-{seed}")
    answer(run, right, seed)
    return run


def answer(run: runs.Run, right: dict[str, float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.arange(120) % 3
    tensors = {"labels": labels, "groups": np.arange(120) // 2}
    for name, share in right.items():
        said = np.where(rng.uniform(size=120) < share, labels, (labels + 1) % 3)
        tensors[name] = np.eye(3)[said] * 0.9 + 0.1 / 3
    save_file(tensors, run.path / training.PREDICTIONS)


def test_the_summary_agrees_with_an_independent_count(tmp_path: Path) -> None:
    finished = [answers(tmp_path, {"teacher": 0.95, "student": 0.9, "alone": 0.6}, seed) for seed in range(3)]
    found = summarize(RECIPE, finished).to_json()
    for row, run in zip(found["seeds"], finished, strict=True):
        stored = load_file(run.path / training.PREDICTIONS)
        for name in ("teacher", "student", "alone"):
            expected = balanced_accuracy_score(stored["labels"], stored[name].argmax(1))
            assert row[name] == pytest.approx(expected)
    assert found["mean"]["student"] == pytest.approx(np.mean([row["student"] for row in found["seeds"]]))
    gain = found["gain_over_alone"]
    assert gain["value"] == pytest.approx(found["mean"]["student"] - found["mean"]["alone"], abs=1e-9)
    assert gain["low"] > 0
    assert found["gain"].startswith("gain +")
    assert found["retained"] == pytest.approx(found["mean"]["student"] / found["mean"]["teacher"])


def test_mcnemar_is_of_all_seeds_in_a_row_and_of_the_first_beside_it(tmp_path: Path) -> None:
    right = {"teacher": 0.95, "student": 0.8, "alone": 0.7}
    finished = [answers(tmp_path, right, seed) for seed in range(3)]
    found = summarize(RECIPE, finished).to_json()
    stored = [load_file(run.path / training.PREDICTIONS) for run in finished]
    hits = [[s[m].argmax(1) == s["labels"] for m in ("student", "alone")] for s in stored]
    taught, alone = (np.concatenate(column) for column in zip(*hits, strict=True))
    b, c = int((taught & ~alone).sum()), int((alone & ~taught).sum())
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert found["mcnemar_pooled_p"] == pytest.approx(min(1, 2 * tail))
    assert found["mcnemar_p"] == summarize(RECIPE, finished[:1]).mcnemar_pooled_p
    assert found["mcnemar_pooled_p"] < found["mcnemar_p"]


def test_a_record_names_its_recipe_and_all_it_hangs_on(tmp_path: Path) -> None:
    finished = [answers(tmp_path, dict.fromkeys(("teacher", "student", "alone"), 0.8), 0)]
    found = summarize(RECIPE, finished, "ssd-kd").to_json()
    assert (found["recipe"], found["data"]["name"]) == ("ssd-kd", "x")
    assert summarize(RECIPE, finished).recipe == "x"
    assert found["settings"]["train"]["views"] == 0
    assert found["settings"]["student"]["init"] == "teacher"
    assert not {"weights", "path", "threads"} & {key for section in found["settings"].values() for key in section}


def test_a_pair_that_learned_together_is_reported_by_its_two_and_their_mean(tmp_path: Path) -> None:
    right = {"teacher": 0.95, "student": 0.8, "alone": 0.6, "partner": 0.75}
    finished = [answers(tmp_path, right, seed) for seed in range(2)]
    found = summarize(RECIPE, finished).to_json()
    for row, run in zip(found["seeds"], finished, strict=True):
        stored = load_file(run.path / training.PREDICTIONS)
        both = (stored["student"] + stored["partner"]).argmax(1)
        assert row["partner"] == pytest.approx(balanced_accuracy_score(stored["labels"], stored["partner"].argmax(1)))
        assert row["ensemble"] == pytest.approx(balanced_accuracy_score(stored["labels"], both))
    for name in ("partner", "ensemble"):
        gain = found[f"gain_of_{name}"]
        assert gain["value"] == pytest.approx(found["mean"][name] - found["mean"]["alone"])
        assert gain["low"] > 0
    without = summarize(
        RECIPE, [answers(tmp_path / "b", dict.fromkeys(("teacher", "student", "alone"), 0.8), 0)]
    ).to_json()
    assert not {"gain_of_partner", "gain_of_ensemble"} & set(without)


def test_the_partner_is_kept_as_it_was_at_the_students_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = create_distiller("dual", Small(4), Small(8))
    assert pair.partner is not None

    def fit(*given: Any) -> Iterator[EpochRecord]:
        for number, best in enumerate((True, True, False), start=1):
            with torch.no_grad():
                pair.partner.classifier.bias.fill_(number)  # type: ignore[union-attr, operator]
            record = epoch("student", number, best=best)
            given[-2](record)
            yield record

    monkeypatch.setattr("kdlight.training.phases.fit", fit)
    run = runs.create(RECIPE, path=tmp_path / "run")
    nothing = torch.zeros(1, 32, 32, 3, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
    data = RunData(None, None, dict.fromkeys(("train", "val"), Arrays(*nothing)))  # type: ignore[arg-type]
    phases = Phases(RECIPE, run, data, torch.ones(3), None)  # type: ignore[arg-type]
    assert not phases.has(PARTNER)
    list(phases._fit("student", pair, student_schedule(RECIPE.train)))
    kept = load_file(run.path / f"{PARTNER}.safetensors")
    assert set(kept["classifier.bias"].tolist()) == {2.0}
    assert kept.keys() == pair.student.state_dict().keys()
    assert [record.epoch for record in run.log()] == [1, 2, 3]


def test_a_gain_of_two_students_of_one_strength_is_not_told_from_0(tmp_path: Path) -> None:
    found = summarize(RECIPE, [answers(tmp_path, {"teacher": 0.9, "student": 0.7, "alone": 0.7}, 0)]).to_json()
    assert found["gain"].startswith("not told from 0: ")
    assert found["deviation"]["student"] is None


def test_the_words_follow_the_interval() -> None:
    assert in_words(Interval(0.05, 0.01, 0.09)) == "gain +5.0 [+1.0, +9.0]"
    assert in_words(Interval(0.05, -0.01, 0.09)) == "not told from 0: +5.0 [-1.0, +9.0]"
    assert in_words(Interval(-0.05, -0.09, -0.01)) == "loss -5.0 [-9.0, -1.0]"
    assert in_words(None) == "not told from 0 (too few images for an interval)"


def test_a_study_without_its_baseline_is_refused(tmp_path: Path) -> None:
    alone = Recipe(**{"data": {"path": "x", "modality": "mri"}, "train": {"alone": False}})
    with pytest.raises(RecipeError, match=r"train\.alone = true"):
        next(execute(alone, tmp_path, 2))


def test_the_card_tells_the_study_and_the_bundle_stays_sound(bundle_copy: Path, tmp_path: Path) -> None:
    summary = summarize(
        RECIPE, [answers(tmp_path, {"teacher": 0.9, "student": 0.8, "alone": 0.6}, s) for s in range(2)]
    )
    publish(bundle_copy, tmp_path / "published", summary)
    found = load(tmp_path / "published")
    assert found.card.metrics.study == summary
    told = found.card.limits[-1]
    assert "Over 2 student seeds and one teacher" in told
    assert f"the same student alone has {summary.mean.alone:.3f} ({summary.gain} points). Not comp" in told
    assert told.endswith("Not compared with the same student from the same starting weights.")
    assert check(found).ok


# --- what a record says besides its scores --------------------------------------------------------------------------


def test_a_record_says_what_was_trained_on_what_and_for_how_long(bundle_copy: Path, tmp_path: Path) -> None:
    found = load(bundle_copy)
    counts = {"train": {"benign": 5, "malignant": 7}, "val": {"benign": 1, "malignant": 2}, "test": {"malignant": 4}}
    bundles.write_card(bundle_copy, found.card.replace(data=found.card.data.replace(counts=counts)))
    bundles.seal(bundle_copy)
    finished = [answers(tmp_path, {"teacher": 0.9, "student": 0.8, "alone": 0.6}, seed) for seed in range(2)]
    shutil.copytree(bundle_copy, finished[0].bundle)
    for run, seconds in zip(finished, (30.0, 90.0), strict=True):
        for number in (1, 2):
            run.append(epoch("student", number, seconds=seconds))
    finished[0].append(epoch("teacher", 1, seconds=12.0))
    said = summarize(RECIPE, finished).to_json()
    assert said["data"]["images"] == {"train": 12, "val": 3, "test": 4}
    assert said["data"]["size"] == 128
    assert said["models"]["student"]["bytes"] == (bundle_copy / "student.safetensors").stat().st_size
    assert said["models"]["teacher"]["architecture"] == "mobilenetv2"
    assert said["method"] == {"name": "kd", "paper": said["method"]["paper"], "options": said["method"]["options"]}
    assert said["method"]["options"] == {"alpha": 0.7, "temperature": 4.0}
    assert said["epochs"] == {"teacher": 15, "student": 40, "alone": 40}
    assert said["minutes"] == {"teacher": 0.2, "student": 2.0, "alone": None}


def test_a_student_from_the_same_start_stands_beside_the_others(tmp_path: Path) -> None:
    right = {"teacher": 0.9, "student": 0.8, "alone": 0.7, "same_start": 0.75}
    said = summarize(RECIPE, [answers(tmp_path, right, seed) for seed in range(2)]).to_json()
    assert said["gain_over_same_start"]["value"] == pytest.approx(said["mean"]["student"] - said["mean"]["same_start"])
    assert said["gain_over_same_start"]["low"] is not None


def test_a_student_from_scratch_stands_beside_the_others(tmp_path: Path) -> None:
    right = {"teacher": 0.9, "student": 0.8, "alone": 0.7, "scratch": 0.4}
    said = summarize(RECIPE, [answers(tmp_path, right, seed) for seed in range(2)]).to_json()
    assert said["gain_over_scratch"]["value"] == pytest.approx(said["mean"]["student"] - said["mean"]["scratch"])
    assert set(said["seeds"][0]) == {"seed", *right}
    without = summarize(
        RECIPE, [answers(tmp_path / "b", dict.fromkeys(("teacher", "student", "alone"), 0.8), 0)]
    ).to_json()
    assert "gain_over_scratch" not in without


# --- what runs take from one another --------------------------------------------------------------------------------


def run_of(folder: Path, *files: str, **tables: dict[str, Any]) -> tuple[runs.Run, Recipe]:
    """A run with the named files and a log line for each phase."""
    recipe = Recipe(**{"data": {"path": "x", "modality": "mri"}, **tables})
    run = runs.create(recipe, path=folder)
    for name in files:
        (run.path / name).write_text(f"{folder.name} {name}")
    phases: tuple[Phase, ...] = ("teacher", "alone")
    for phase in phases:
        if f"{phase}.safetensors" in files:
            run.append(epoch(phase, 1, seconds=3.0))
    return run, recipe


WHOLE = ("teacher.safetensors", "start.safetensors", "start.txt", "alone.safetensors", "student.safetensors")


@pytest.mark.parametrize(
    ("tables", "taken"),
    [
        ({"distill": {"method": "kd", "alpha": 0.3}}, {"teacher", "alone"}),
        ({"train": {"scratch": True}}, {"teacher", "alone"}),
        ({"train": {"same_start": True}}, {"teacher", "alone"}),
        ({"student": {"name": "kdlight_small"}}, {"teacher"}),
        ({"train": {"epochs": 3}}, {"teacher"}),
        ({"train": {"seed": 1}}, set()),
        ({"teacher": {"epochs": 3}}, set()),
        ({"data": {"path": "x", "modality": "mri", "size": 64}}, set()),
    ],
)
def test_only_what_would_be_made_alike_is_taken(tmp_path: Path, tables: dict[str, Any], taken: set[str]) -> None:
    other, _ = run_of(tmp_path / "other", *WHOLE)
    run, recipe = run_of(tmp_path / "run", **tables)
    inherit(run, recipe, other)
    assert {name for name in ("teacher", "alone", "student") if (run.path / f"{name}.safetensors").exists()} == taken
    assert {record.phase for record in run.log()} == taken


def test_a_later_seed_gives_no_teacher_since_its_own_is_the_first_one_s(tmp_path: Path) -> None:
    run_of(tmp_path / "other" / "seed-0", *WHOLE)
    later, _ = run_of(tmp_path / "other" / "seed-1", *WHOLE, train={"seed": 1})
    run, recipe = run_of(tmp_path / "run", train={"seed": 1}, distill={"method": "mse"})
    inherit(run, recipe, later)
    assert not (run.path / "teacher.safetensors").exists()
    assert (run.path / "alone.safetensors").exists()


def test_the_seeds_of_a_study_have_one_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where each seed could take one of its own from another study."""
    recipe = Recipe(**{"data": {"path": "x", "modality": "mri"}})
    taught = {}

    def train(one: Recipe, run: runs.Run) -> Iterator[EpochRecord]:
        for name in TEACHER:
            if not (run.path / name).exists():
                (run.path / name).write_text(f"{run.path.parent.name} {one.train.seed}")
        taught[one.train.seed] = (run.path / "teacher.safetensors").read_text()
        yield epoch("student", 1)

    scores = {"seed": 0, "teacher": 0.9, "student": 0.8, "alone": 0.7}
    record = StudyRecord(schema=SCHEMA, recipe="x", seeds=(SeedScores(**scores),), gain_over_alone=None)
    monkeypatch.setattr(training, "execute", train)
    monkeypatch.setattr("kdlight.studies.run.summarize", lambda *_: record)
    monkeypatch.setattr("kdlight.studies.run.publish", lambda *_: None)
    for seed in (0, 1):
        run_of(tmp_path / f"alone-{seed}" / f"seed-{seed}", *WHOLE, train={"seed": seed})
    list(execute(recipe, tmp_path / "study", 2, [tmp_path / "alone-1", tmp_path / "alone-0"]))
    assert taught == {0: "seed-0 teacher.safetensors", 1: "seed-0 teacher.safetensors"}


def test_what_a_run_has_is_not_taken_again(tmp_path: Path) -> None:
    other, _ = run_of(tmp_path / "other", *WHOLE)
    run, _ = run_of(tmp_path / "run", "alone.safetensors")
    take(run, other, "alone", ("alone.safetensors",))
    assert (run.path / "alone.safetensors").read_text() == "run alone.safetensors"
    take(run, other, "scratch", ("scratch.safetensors",))
    assert not (run.path / "scratch.safetensors").exists()


# --- grids ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"train": {"alone": False}}, "needs the student alone"),
        ({"data": {"path": "x", "modality": "xrya"}}, "modality is 'xrya'; one of xray"),
        ({"student": {"name": "kdlight_small", "init": "general"}}, "No general weights"),
        ({"teacher": {"name": "vgg19"}, "student": {"init": "selection"}}, "must be of one family"),
    ],
)
def test_a_cell_that_could_not_be_run_is_named_at_once(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        grids.check(Recipe(**{"data": {"path": "x", "modality": "mri"}, **tables}))


def test_a_grid_is_every_combination() -> None:
    found = grids.combinations(["distill.dual=false,true", "student.name=kdlight_nano, timm:../x"])
    assert found == {
        "distill.dual=false,student.name=kdlight_nano": {"distill.dual": "false", "student.name": "kdlight_nano"},
        "distill.dual=false,student.name=timm_.._x": {"distill.dual": "false", "student.name": "timm:../x"},
        "distill.dual=true,student.name=kdlight_nano": {"distill.dual": "true", "student.name": "kdlight_nano"},
        "distill.dual=true,student.name=timm_.._x": {"distill.dual": "true", "student.name": "timm:../x"},
    }


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        (["dual=a,b"], "section.key=value,value"),
        (["distill.dual"], "two values or more"),
        (["distill.dual=true"], "two values or more"),
        (["distill.dual=true,"], "two values or more"),
        (["distill.a=1,2", "distill.a=3,4"], "names distill.a twice"),
        (["distill.a=1,1"], "alike"),
    ],
)
def test_a_grid_that_is_none_is_refused(grid: list[str], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        grids.combinations(grid)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "kd", "magic": 1}, "distill.magic is not known"),
        ({"method": "kd", "alpha": "high"}, "a number from 0 to 1 was expected"),
        ({"method": "dual", "dual": "maybe"}, "true or false was expected"),
        ({"method": "dual", "momentum": 2.0}, "a number from 0 to below 1 was expected"),
        ({"method": "nope"}, "Unknown distillation method"),
    ],
)
def test_a_cell_that_cannot_be_built_is_refused_before_training(options: dict[str, Any], says: str) -> None:
    recipe = Recipe(**{"data": {"path": "x", "modality": "mri"}, "distill": options})
    with pytest.raises(ValueError, match=says):
        grids.run_grid({"one": recipe}, {"one": {}}, Path("nowhere"), 1)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, bundle_copy: Path) -> list[str]:
    """No training: a run's missing files are written as a training would, and noted as `cell/seed-N stage`."""
    noted: list[str] = []

    def train(recipe: Recipe, run: runs.Run) -> Iterator[EpochRecord]:
        phases: tuple[Phase, ...] = ("teacher", "alone", "student")
        for phase in phases:
            if (run.path / f"{phase}.safetensors").is_file():
                continue
            noted.append(f"{run.path.parent.name}/{run.name} {phase}")
            record = epoch(phase, 1, 1, seconds=60.0)
            run.append(record)
            yield record
            for name in (f"{phase}.safetensors", *(["start.safetensors", "start.txt"] if phase == "teacher" else [])):
                (run.path / name).write_text("weights")
        share = 0.5 + 0.05 * recipe.distill.options["alpha"] * 10
        answer(run, {"teacher": 0.95, "alone": 0.4, "student": share}, recipe.train.seed)
        shutil.copytree(bundle_copy, run.bundle)

    monkeypatch.setattr(training, "execute", train)
    return noted


def cells(alphas: tuple[float, ...]) -> dict[str, Recipe]:
    return {f"a{a}": RECIPE.changed(distill=DistillConfig(alpha=a)) for a in alphas}


def test_a_grid_trains_what_cells_share_once_and_compares_their_students(trained: list[str], tmp_path: Path) -> None:
    chosen = cells((0.0, 0.5))
    values = {name: {"distill.alpha": name[1:]} for name in chosen}
    seen = [(r.cell, r.seed, r.phase) for r in grids.run_grid(chosen, values, tmp_path, 2)]
    assert trained == [
        *(f"a0.0/seed-0 {stage}" for stage in ("teacher", "alone", "student")),
        *(f"a0.0/seed-1 {stage}" for stage in ("alone", "student")),
        *(f"a0.5/seed-{seed} student" for seed in (0, 1)),
    ]
    assert seen[0] == ("a0.0", 0, "teacher")
    found = json.loads((tmp_path / "grid.json").read_text())
    assert [cell["values"] for cell in found["cells"]] == [{"distill.alpha": "0.0"}, {"distill.alpha": "0.5"}]
    assert found["cells"][1]["minutes"] == {"teacher": 1.0, "student": 1.0, "alone": 1.0}
    own = json.loads((tmp_path / "a0.5" / "study.json").read_text())
    assert found["cells"][1]["gain_over_alone"] == own["gain_over_alone"]
    (pair,) = found["differences"]
    means = [cell["mean"]["student"] for cell in found["cells"]]
    assert (pair["first"], pair["second"]) == ("a0.5", "a0.0")
    assert pair["difference"]["value"] == pytest.approx(means[1] - means[0])
    assert pair["words"].startswith("gain +")
    assert list(grids.run_grid(chosen, values, tmp_path, 2)) == []
    assert len(trained) == 7


def test_a_proven_loss_is_called_one(trained: list[str], tmp_path: Path) -> None:
    chosen = cells((0.8, 0.0))
    list(grids.run_grid(chosen, {name: {} for name in chosen}, tmp_path, 2))
    (pair,) = json.loads((tmp_path / "grid.json").read_text())["differences"]
    assert pair["words"].startswith("loss -")


def test_folds_are_pooled_as_the_different_images_that_they_are(tmp_path: Path) -> None:
    """Group 0 of one fold is not group 0 of another: drawn together they would make the interval too wide or narrow."""
    finished = [answers(tmp_path, {"teacher": 0.95, "student": 0.9, "alone": 0.6}, seed) for seed in range(5)]
    found = summarize(RECIPE, finished, folds=5)
    assert (found.folds, found.teachers, len(found.seeds)) == (5, 5, 5)
    each = [load_file(run.path / training.PREDICTIONS) for run in finished]
    groups = np.concatenate([arrays["groups"] for arrays in apart(each)])
    assert len(np.unique(groups)) == 5 * 60
    together = {name: np.concatenate([arrays[name] for arrays in each]) for name in ("student", "alone", "labels")}
    expected = difference(balanced_accuracy, together["student"], together["alone"], together["labels"], groups)
    assert found.gain_over_alone == expected
    alike = summarize(RECIPE, finished)
    assert alike.gain_over_alone != found.gain_over_alone
    assert alike.folds is None
    assert "folds" not in alike.to_json()


def test_a_cross_validation_trains_a_pair_for_each_fold(trained: list[str], tmp_path: Path) -> None:
    recipe = next(iter(cells((0.5,)).values()))
    for _ in range(2):
        list(execute(recipe, tmp_path / "study", 3, folds=3))
    assert [name.split()[1] for name in trained].count("teacher") == 3  # finished folds are not run again
    made = [runs.Run(tmp_path / "study" / f"fold-{number}").read_recipe() for number in range(3)]
    assert [(one.data.folds, one.data.fold, one.train.seed) for one in made] == [(3, n, n) for n in range(3)]
    assert not (tmp_path / "study" / "bundle").exists()
