"""A finished run's card made anew: everything measured is there again, nothing is trained, and no other data pass."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kdlight import bundle as bundles
from kdlight import runs, training
from kdlight.contracts.recipe import read_recipe, shipped
from kdlight.data import synthetic
from kdlight.inference import golden
from kdlight.models import create_model
from kdlight.runs import Run, RunError
from tests.bundle_faults import spoil
from tools.remeasure import remeasure

STUDY = {
    **{"schema": "kdlight.study/1", "recipe": "kdlight-synthetic", "gain": "said by the study"},
    "seeds": [{"seed": number, "teacher": 0.9, "student": 0.84, "alone": 0.8} for number in (0, 1)],
    "gain_over_alone": {"value": 0.04, "low": 0.01, "high": 0.07},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs whose card was written by an older version: without twins, corruptions and thresholds."""
    root = tmp_path_factory.mktemp("remeasure")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDLIGHT_CACHE", str(root / "cache"))
        torch.manual_seed(0)
        save_file(create_model("mobilenetv2", 2).state_dict(), root / "start.safetensors")
        drawn = synthetic(root / "drawn", per_class=32, size=32)
        given = [f"data.path={drawn}", f"teacher.weights={root / 'start.safetensors'}", "data.size=32"]
        few = ["teacher.epochs=1", "train.epochs=1", "train.alone=false", "train.batch_size=32"]
        name = training.open_set(read_recipe(shipped()["kdlight-synthetic"], given).data, root).classes[0]
        urgent = f'data.classes.{name}={{words="Kind", must_not_miss=true}}'
        recipe = read_recipe(shipped()["kdlight-synthetic"], [*given, *few, urgent])
        run = runs.create(recipe, path=root / "run")
        list(training.execute(recipe, run))
        run.update(state="done")
        spoil(run.bundle, older)
    return root


def older(card: dict[str, object]) -> None:
    for name in ("twins", "corruptions", "shortcuts", "look_alike"):
        del card["metrics"][name]  # type: ignore[attr-defined]
    del card["operating"]


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy that a test may change, with its data."""
    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path / "cache"))
    copy = Path(shutil.copytree(finished, tmp_path / "all")) / "run"
    recipe = copy / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(str(finished), str(copy.parent)))
    return Run(copy)


def test_a_card_gets_what_it_lacked_and_keeps_study_date_and_weights(run: Run) -> None:
    spoil(run.bundle, lambda card: card["metrics"].update(study=STUDY))
    spoil(run.bundle, lambda card: card.update(created="2026-01-02", version="1.2.0"))
    before, weights = bundles.load(run.bundle).card, load_file(run.bundle / "student.safetensors")
    assert before.metrics.corruptions is before.operating is None
    log = run.log()
    found = remeasure(run.path)
    assert run.log() == log
    assert run.status().state == "done"
    card = found.card
    assert card.metrics.twins is not None
    assert len(card.metrics.corruptions or ()) == 15
    assert card.metrics.shortcuts is not None
    assert card.metrics.look_alike is not None
    assert card.metrics.look_alike.cases is None  # a card names no image
    assert list(card.operating or ()) == list(card.must_not_miss) != []
    assert (card.created, card.version, card.metrics.study) == ("2026-01-02", "1.2.0", before.metrics.study)
    assert card.limits[-1].startswith("Over 2 student seeds and one teacher")
    assert card.metrics.student == before.metrics.student
    again = load_file(run.bundle / "student.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert golden.check(found).ok


def test_a_study_is_published_again_from_its_first_seed(run: Run, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(run.path, study / "seed-0")
    spoil(run.bundle, lambda card: card["metrics"].update(study=STUDY))
    shutil.copytree(run.bundle, study / "bundle")
    (study / "study.json").write_text(json.dumps(STUDY))
    found = remeasure(study)
    assert found.path == study / "bundle"
    assert found.card.metrics.study is not None
    assert found.card.metrics.study.seeds == bundles.load(run.bundle).card.metrics.study.seeds  # type: ignore[union-attr]
    assert found.card.metrics.corruptions is not None
    assert bundles.load(study / "seed-0" / "bundle").card.metrics.study is None


def test_other_labels_other_weights_and_unfinished_runs_are_refused_and_change_nothing(run: Run) -> None:
    sealed = bundles.load(run.bundle).sha256
    student = run.path / "student.safetensors"
    state = load_file(student)
    save_file({name: -value if "classifier" in name else value for name, value in state.items()}, student)
    with pytest.raises(RunError, match=r"The student of .* gives .* of the test images another class"):
        remeasure(run.path)
    save_file(state, student)
    manifest = run.path.parent / "drawn" / "manifest.csv"
    first, other = (name.join(",,") for name in bundles.load(run.bundle).classes[:2])
    text = manifest.read_text().replace(first, ",?,").replace(other, first).replace(",?,", other)
    manifest.write_text(text)
    with pytest.raises(RunError, match="are others now than when it ended"):
        remeasure(run.path)
    student.unlink()
    with pytest.raises(RunError, match="is not finished: its student has no weights"):
        remeasure(run.path)
    assert bundles.load(run.bundle).sha256 == sealed
