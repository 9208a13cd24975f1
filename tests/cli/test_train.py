"""train: from a recipe to a bundle, stopped in between, and gone on with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kdlight import runs
from kdlight.contracts.modality import MODALITIES
from kdlight.contracts.recipe import read_recipe
from kdlight.data import synthetic
from kdlight.runs import EpochRecord
from kdlight.runs import Run as Folder
from kdlight.training.effort import Trial
from tests.epochs import epoch

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., Any]
RECIPE = "kdlight-synthetic"


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Let the training log one epoch and then do this, in place of training."""

    def use(then: Callable[[], None]) -> None:
        def train(recipe: Any, run: Folder) -> Iterator[EpochRecord]:
            run.append(epoch("student", 1))
            yield epoch("student", 1)
            then()

        monkeypatch.setattr("kdlight.training.run.execute", train)

    return use


def fail(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.slow
def test_a_recipe_becomes_a_bundle(kdlight: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    overrides = ("train.epochs=1", "teacher.epochs=1", "data.size=32", "student.init=random", "train.alone=false")
    weights = tmp_path / "start.safetensors"
    _write_weights(weights)
    options = [part for text in (*overrides, f"teacher.weights={weights}") for part in ("-o", text)]
    said = kdlight("train", RECIPE, *options, "--out", out, "--json")
    assert said.status == 0, said.err
    assert said.json["bundle"] == str(out / "bundle")
    assert Folder(out).status().state == "done"
    assert {entry.phase for entry in Folder(out).log()} == {"teacher", "student"}
    assert kdlight("verify", out / "bundle").status == 0
    again = kdlight("train", out / "recipe.toml", "--out", out, "--resume", "--json")
    assert (again.status, again.json["bundle"]) == (0, said.json["bundle"])
    assert f"Run {out.name} is finished already; nothing is trained." in again.err
    assert kdlight("train", out / "recipe.toml", "--out", out).status == 2


def test_an_interrupt_leaves_a_stopped_run(kdlight: Run, tmp_path: Path, pretend: Any) -> None:
    pretend(fail(KeyboardInterrupt()))
    assert kdlight("train", RECIPE, "--out", tmp_path / "run").status == 130
    status = Folder(tmp_path / "run").status()
    assert (status.state, "resume" in status.message) == ("stopped", True)


def test_a_mistake_leaves_a_failed_run_that_says_why(kdlight: Run, tmp_path: Path, pretend: Any) -> None:
    pretend(fail(OSError(28, "No space left on device", "student.safetensors")))
    said = kdlight("train", RECIPE, "--out", tmp_path / "run")
    assert said.status == 2
    status = Folder(tmp_path / "run").status()
    assert status.state == "failed"
    assert status.message.startswith("The disk is full while writing student.safetensors")


def test_a_begun_run_wants_resume_and_its_own_recipe(kdlight: Run, tmp_path: Path, pretend: Any) -> None:
    pretend(fail(KeyboardInterrupt()))
    out = tmp_path / "run"
    kdlight("train", RECIPE, "--out", out)
    assert "--resume" in kdlight("train", RECIPE, "--out", out).err
    other = kdlight("train", RECIPE, "-o", "train.epochs=9", "--out", out, "--resume")
    assert (other.status, "another recipe" in other.err) == (2, True)
    assert kdlight("train", RECIPE, "--out", out, "--resume").status == 130


def test_a_mistake_before_anything_is_learned_does_not_hold_the_folder(
    kdlight: Run, tmp_path: Path, pretend: Any
) -> None:
    out = tmp_path / "run"
    assert "does not exist" in kdlight("train", RECIPE, "-o", f"data.path={tmp_path / 'none'}", "--out", out).err
    pretend(fail(KeyboardInterrupt()))
    assert kdlight("train", RECIPE, "--out", out).status == 130


def test_a_recipe_that_is_not_there_is_said_with_the_nearest(kdlight: Run) -> None:
    said = kdlight("train", "kdlight-hamm7")
    assert said.status == 2
    assert "Did you mean kdlight-ham7? See kdlight list recipes." in said.err


def test_there_must_be_something_to_resume(kdlight: Run, tmp_path: Path) -> None:
    said = kdlight("train", RECIPE, "--out", tmp_path / "run", "--resume")
    assert (said.status, "no run to resume" in said.err) == (2, True)
    assert not (tmp_path / "run").exists()


def test_a_folder_with_other_things_is_left_alone(kdlight: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    said = kdlight("train", RECIPE, "--out", tmp_path)
    assert (said.status, "not empty" in said.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_a_started_run_is_stopped_by_a_signal_and_says_so(tmp_path: Path) -> None:
    from kdlight.contracts.recipe import shipped

    weights = tmp_path / "start.safetensors"
    _write_weights(weights)
    recipe = read_recipe(shipped()[RECIPE], ["teacher.epochs=500", "data.size=32", f"teacher.weights={weights}"])
    run = runs.start(recipe, tmp_path)
    end = time.monotonic() + 300
    while not run.log() and time.monotonic() < end:
        assert run.status().state in runs.LIVE, run.output.read_text()
        time.sleep(0.1)
    runs.stop(run, grace=30)
    assert run.status().state == "stopped"
    assert "Stopped by request" in run.status().message
    assert "Traceback" not in run.output.read_text()


def _write_weights(path: Path) -> None:
    """Random ImageNet-shaped weights, so that nothing is looked for on the network."""
    from safetensors.torch import save_file

    from kdlight.models import create_model

    save_file(create_model("mobilenetv2", 3).state_dict(), path)


def test_a_study_needs_the_student_alone(kdlight: Run, tmp_path: Path) -> None:
    said = kdlight("study", RECIPE, "-o", "train.alone=false", "--out", tmp_path / "study")
    assert (said.status, "train.alone" in said.err) == (2, True)


def test_another_method_leaves_the_options_of_the_recipes_own_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    from kdlight.runs.recipes import open_recipe

    ours = Path("kdlight-ham7")
    own = dict(open_recipe(ours, []).distill.options)
    assert len(own) > 1
    same = open_recipe(ours, ["distill.method=feature", "distill.alpha=0.2"])
    assert dict(same.distill.options) == {**own, "alpha": 0.2}
    assert capsys.readouterr().err == ""
    other = open_recipe(ours, ["distill.method=dkd", "distill.beta=4.0"])
    assert (other.distill.method, dict(other.distill.options)) == ("dkd", {"beta": 4.0})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("distill.method is dkd instead of feature: feature's alpha, temperature, gamma left out")
    alone = open_recipe(ours, ["distill.method=alone"])
    assert not alone.distill.options
    assert "left out" in capsys.readouterr().err
    kept = open_recipe(ours, ["distill.method=kd", *(f"distill.{key}=1.0" for key in own)])
    assert set(kept.distill.options) == set(own)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("reason", "said"), [("no server answers", True), (None, False)])
def test_a_teacher_that_starts_from_nothing_is_told_before_the_start(
    kdlight: Run, tmp_path: Path, pretend: Callable[..., None], monkeypatch: pytest.MonkeyPatch, reason: str, said: bool
) -> None:
    monkeypatch.setattr("kdlight.models.published.lacking", lambda name: reason)
    pretend(fail(KeyboardInterrupt()))
    lines = kdlight("train", RECIPE, "--out", tmp_path / "run").err.splitlines()
    warning = "Teacher starts from random weights: no server answers."
    told = [number for number, line in enumerate(lines) if line == warning]
    assert bool(told) is said
    assert not told or told[0] < next(number for number, line in enumerate(lines) if "student 1/3" in line)


TRIAL = Trial(2000, 0.003, 0.001, 0.002)


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    return synthetic(tmp_path / "shapes", per_class=16, size=32)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch, pretend: Any) -> None:
    """A trial that takes no time, and a training that stops after one epoch."""
    pretend(fail(KeyboardInterrupt()))
    monkeypatch.setattr("kdlight.training.effort.try_out", lambda _: TRIAL)


@pytest.mark.usefixtures("untrained")
def test_a_labeled_set_is_trained_by_its_modality_and_the_run_keeps_that_as_its_recipe(
    kdlight: Run, shapes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    said = kdlight("train", shapes, "--modality", "blood", "--out", out)
    assert said.status == 130
    assert "Standard: 12 epochs of the teacher and 30 of each student on 2000 images, 15 views; about" in said.err
    recipe, status = read_recipe(out / "recipe.toml"), Folder(out).status()
    assert (recipe.data.path, recipe.data.modality) == (str(shapes), "blood")
    assert (recipe.teacher.epochs, recipe.train.epochs, recipe.train.views) == (12, 30, 15)
    assert status.effort == "standard"
    assert status.expected_seconds == pytest.approx(TRIAL.seconds(recipe))
    assert kdlight("train", shapes, "--modality", "blood", "--out", out, "--resume").status == 130
    other = kdlight("train", shapes, "--modality", "mri", "--out", out, "--resume")
    assert (other.status, "another recipe" in other.err) == (2, True)


@pytest.mark.usefixtures("untrained")
def test_an_effort_sets_a_recipes_epochs_too(kdlight: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert kdlight("train", "kdlight-synthetic", "--effort", "quick", "--out", out).status == 130
    assert read_recipe(out / "recipe.toml").train.epochs == 5
    assert json.loads((out / "status.json").read_text())["effort"] == "quick"
    both = kdlight("train", "kdlight-synthetic", "--effort", "quick", "-o", "train.epochs=2")
    assert (both.status, "leave out --effort or -o train.epochs=2" in both.err) == (2, True)


def test_a_labeled_set_without_its_modality_is_refused_with_those_there_are(kdlight: Run, shapes: Path) -> None:
    said = kdlight("train", shapes)
    assert said.status == 2
    (line,) = said.err.splitlines()
    assert f"its modality was expected too, one of {', '.join(MODALITIES)}. Add --modality" in line
