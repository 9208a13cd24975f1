"""What a training may cost decides its epochs and views, by a measured time; a labeled set needs no recipe."""

import math
from pathlib import Path

import pytest
import torch

import kdlight
from kdlight import runs
from kdlight.contracts.recipe import DistillConfig, Effort, RecipeError, default_recipe
from kdlight.data import synthetic
from kdlight.models import create_model
from kdlight.runs import Run, RunError
from kdlight.training import open_run
from kdlight.training.effort import EFFORTS, OVERHEAD, VALIDATION, Budget, Trial, try_out
from tests.epochs import epoch

PLAN = default_recipe("x", "mri")


def of_images(images: int, step: float = 0.001) -> Trial:
    return Trial(images, 3 * step, step, 2 * step)


@pytest.mark.parametrize(
    ("effort", "images", "epochs"),
    [("quick", 1000, 10), ("quick", 100, 20), ("quick", 10**5, 4), ("standard", 2000, 30), ("thorough", 2000, 120)],
)
def test_a_student_is_shown_as_many_images_as_an_effort_allows(effort: Effort, images: int, epochs: int) -> None:
    assert of_images(images).fitted(PLAN, effort).train.epochs == epochs


def test_a_slow_machine_cuts_the_epochs_until_the_time_fits_but_not_below_the_fewest() -> None:
    slow = of_images(2000, step=1.0)
    recipe = slow.fitted(PLAN, "standard")
    longer = recipe.changed(train=recipe.train.changed(epochs=recipe.train.epochs + 3))
    assert 10 < recipe.train.epochs < 30
    assert slow.seconds(recipe) <= EFFORTS["standard"].seconds < slow.seconds(longer)
    assert of_images(2000, step=50.0).fitted(PLAN, "standard").train.epochs == 10


def test_views_are_fixed_only_where_the_teachers_outputs_for_them_can_be_cached() -> None:
    assert of_images(2000).fitted(PLAN, "standard").train.views == 15
    maps = PLAN.changed(distill=DistillConfig(method="attention"))
    assert of_images(2000).fitted(maps, "standard").train.views == 0
    assert of_images(10**5).fitted(PLAN, "quick").train.views == 0  # as many views as epochs are none
    mixed = PLAN.changed(train=PLAN.train.changed(mixup=0.2, views=0))
    assert of_images(2000).fitted(mixed, "standard").train.views == 0


def test_a_run_costs_its_steps_and_a_teacher_whose_outputs_are_cached_a_pass_for_each_view() -> None:
    recipe = PLAN.changed(train=PLAN.train.changed(epochs=20, views=5, scratch=True))
    steps, trial = math.ceil(1000 / 32), of_images(1000)
    teacher, students = 15 * steps * 0.003, 3 * 20 * steps * 0.001
    assert trial.seconds(recipe) == pytest.approx(OVERHEAD + VALIDATION * (teacher + students + 5 * steps * 0.001))
    asked = recipe.changed(train=recipe.train.changed(views=0))
    assert trial.seconds(asked) - trial.seconds(recipe) == pytest.approx(VALIDATION * 15 * steps * 0.001)


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    return synthetic(tmp_path / "shapes", per_class=16, size=32)


def test_a_trial_times_each_model_on_the_sets_own_number_of_images(
    shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdlight.training.effort.BATCHES", 1)
    recipe = default_recipe(shapes, "mri").overridden(["data.size=32", "train.batch_size=4", "teacher.batch_size=4"])
    trial = try_out(recipe)
    assert 24 <= trial.images <= 36  # of 48, less a fifth for the test and a share for validation
    assert 0 < trial.alone <= trial.taught
    assert trial.teacher > 0


def test_a_labeled_set_needs_its_modality(shapes: Path) -> None:
    with pytest.raises(RecipeError, match=r"blood.* Add --modality \(in Python modality=...\)"):
        open_run(shapes)


def test_a_run_of_another_source_is_not_gone_on_with(tmp_path: Path) -> None:
    run = runs.create(PLAN, path=tmp_path / "run")
    run.append(epoch("teacher", 1))
    with pytest.raises(RunError, match="another recipe"):
        open_run("kdlight-synthetic", out=run.path, resume=True)
    assert open_run(PLAN, out=run.path, resume=True) == run


@pytest.mark.slow
def test_a_folder_becomes_a_bundle_in_one_call(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(EFFORTS, "quick", Budget(60, (1, 2), 1, 600.0))
    monkeypatch.setattr("kdlight.training.effort.BATCHES", 1)
    torch.manual_seed(0)
    save_file(create_model("mobilenetv2", 2).state_dict(), tmp_path / "start.safetensors")
    small = ["data.size=32", f"teacher.weights={tmp_path / 'start.safetensors'}", "train.alone=false"]
    bundle = kdlight.train(shapes, "mri", tmp_path / "run", "quick", small)
    assert bundle.card.modality == "mri"
    assert bundle.classes == ("disc", "ring", "star")
    assert Run(tmp_path / "run").status().state == "done"
    assert "student 2/2: loss" in capsys.readouterr().err
