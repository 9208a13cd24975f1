from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kdlight.benchmark import timer as machine
from kdlight.bundle import Bundle
from kdlight.config import read_recipe, shipped
from kdlight.distillers import METHODS
from kdlight.models import MODELS
from kdlight.options import declared
from kdlight.ui.catalog import Catalog
from kdlight.ui.jobs import Job, JobError, work

CLASSES = ("benign", "malignant", "normal")


def quiet(share: float, words: str) -> None:
    assert 0 <= share <= 1
    assert words


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in CLASSES:
        folder = tmp_path / "set" / "test" / name
        folder.mkdir(parents=True)
        for number in range(4):
            PIL.Image.fromarray(rng.integers(0, 255, (64, 64), dtype=np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "set"


def test_a_job_answers_from_its_own_process(labelled: Path) -> None:
    job = Job("check", path=str(labelled))
    found = job.wait(60)
    assert job.done
    assert found["images"] == 12
    assert found["counts"]["test"] == dict.fromkeys(CLASSES, 4)
    json.dumps(found)


def test_a_mistake_comes_back_as_its_sentence(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="does not exist; a folder of class folders"):
        Job("check", path=str(tmp_path / "nothing")).wait(60)


def test_a_job_can_be_stopped() -> None:
    job = Job("catalog")
    job.cancel()
    with pytest.raises(JobError, match="ended before it had a result"):
        job.wait(20)


def test_waiting_is_bounded() -> None:
    job = Job("catalog")
    began = time.monotonic()
    with pytest.raises(JobError, match="is not finished"):
        job.wait(0.01)
    assert time.monotonic() - began < 5
    job.cancel()


def test_the_catalog_holds_every_method_with_its_knobs() -> None:
    found = work.catalog(quiet)
    carried = Catalog.model_validate(json.loads(json.dumps(found)))
    assert carried.methods["kd"].options == declared(METHODS["kd"])
    assert {option.name: option.default for option in carried.methods["kd"].options} == {
        "alpha": 0.7,
        "temperature": 4.0,
    }
    assert {name: network.role for name, network in carried.networks.items()} == {n: m.role for n, m in MODELS.items()}


def test_a_comparison_counts_what_the_models_say(
    tiny_bundle: Bundle, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "MOST_BUSY", 101.0)
    found = work.compare(quiet, str(tiny_bundle.path), str(labelled))
    assert found["n"] == 12
    assert found["split"] == "test"
    for role in ("teacher", "student"):
        matrix = np.array(found[role]["confusion"])
        assert matrix.sum(axis=1).tolist() == [4, 4, 4]
        assert found[role]["accuracy"]["value"] == pytest.approx(np.trace(matrix) / 12)
        assert found["curves"][role]["roc"]["benign"]["false"][0] == 0
        assert found["curves"][role]["roc"]["benign"]["true"][-1] == 1
        assert sum(found["curves"][role]["reliability"]["count"]) == 12
    assert found["flips"] == len(found["shown"])
    assert all(Path(flip["file"]).is_file() and flip["teacher"] != flip["student"] for flip in found["shown"])
    assert {row["name"] for row in found["latency"]["rows"]} >= {"teacher, torch eager", "student, ONNX Runtime"}
    json.dumps(found)


def test_maps_are_held_against_a_folder_of_outlines(
    tiny_bundle: Bundle, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "MOST_BUSY", -1.0)
    pictures = sorted(path for path in labelled.rglob("*.png") if "test" in path.parts)[:3]
    for picture in pictures:
        mask = tmp_path / "masks" / picture.relative_to(labelled)
        mask.parent.mkdir(parents=True, exist_ok=True)
        with PIL.Image.open(picture) as opened:
            width, height = opened.size
        outline = PIL.Image.new("L", (width, height))
        outline.paste(255, (0, 0, width // 2, height))
        outline.save(mask)
    found = work.compare(quiet, str(tiny_bundle.path), str(labelled), masks=str(tmp_path / "masks"))
    assert found["localization"]["images"] == 3
    assert found["localization"]["area"] == pytest.approx(0.5)
    assert 0 <= found["localization"]["student"]["all"]["lift"]["value"] <= 2
    assert work.compare(quiet, str(tiny_bundle.path), str(labelled))["localization"] is None


def test_without_data_only_the_clock_is_asked(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MOST_BUSY", 101.0)
    assert set(work.compare(quiet, str(tiny_bundle.path), None)) == {"latency"}


def test_on_a_busy_machine_no_time_is_taken(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MOST_BUSY", -1.0)
    found = work.compare(quiet, str(tiny_bundle.path), None)
    assert set(found) == {"busy"}
    assert "Try again when it is quiet." in found["busy"]


def test_an_estimate_grows_with_the_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdlight.training.effort._step", lambda *_: 0.1)
    recipe = shipped()["kdlight-synthetic"]
    short = work.estimate(quiet, read_recipe(recipe, ["train.epochs=2"]).to_toml())
    long = work.estimate(quiet, read_recipe(recipe, ["train.epochs=20"]).to_toml())
    steps = 2 * 18 * math.ceil(114 / 16)  # of the student with its teacher and without
    assert long["seconds"] - short["seconds"] == pytest.approx(1.25 * steps * 0.1)
    assert short["images"] == 114
