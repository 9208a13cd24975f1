from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kdlight.benchmark import timer as machine
from kdlight.bundle import Bundle
from kdlight.contracts.bar import Bar
from kdlight.contracts.options import declared
from kdlight.contracts.recipe import read_recipe, shipped
from kdlight.distillers import METHODS
from kdlight.models import MODELS
from kdlight.workers import RequestCancelled, WorkerError, Workers, jobs
from kdlight.workers.looks import SIDE
from kdlight.workers.requests import Accept, CheckData, Compare, EstimateTime, ListCatalog

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


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with closing(Workers(2, threads=1, keep=30.0)) as started:
        yield started


def test_a_job_answers_from_its_own_process(workers: Workers, labelled: Path) -> None:
    ticket = workers.submit(CheckData(str(labelled)))
    check = ticket.result(60)
    assert ticket.done
    assert check.images == 12
    assert check.counts["test"] == dict.fromkeys(CLASSES, 4)


def test_a_mistake_comes_back_as_its_sentence(workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="does not exist; a folder of class folders"):
        workers.submit(CheckData(str(tmp_path / "nothing"))).result(60)


def test_cases_and_later_ones_are_held_against_a_bar(
    workers: Workers, tiny_bundle: Bundle, labelled: Path, tmp_path: Path
) -> None:
    """The record comes back as it was sealed, and goes to another process as what the next one goes on from."""
    bar = Bar(sensitivity={"malignant": 0.9})
    first = workers.submit(Accept(tiny_bundle.path, str(labelled), bar)).result(120)
    assert first.sealed() == first
    assert (len(first.cases), first.bar) == (12, bar)
    with pytest.raises(WorkerError, match="All 12 files were counted before"):
        workers.submit(Accept(tiny_bundle.path, str(labelled), since=first)).result(120)


def test_a_job_can_be_stopped(workers: Workers) -> None:
    ticket = workers.submit(ListCatalog())
    ticket.cancel()
    with pytest.raises(RequestCancelled):
        ticket.result(20)


def test_waiting_is_bounded(workers: Workers) -> None:
    ticket = workers.submit(ListCatalog())
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        ticket.result(0)
    assert time.monotonic() - began < 5
    assert "kd" in ticket.result(60).methods


def test_the_catalog_holds_every_method_with_its_options(workers: Workers) -> None:
    catalog = workers.submit(ListCatalog()).result(60)
    assert catalog.methods["kd"].options == declared(METHODS["kd"])
    defaults = {option.name: option.default for option in catalog.methods["kd"].options}
    assert defaults == {"alpha": 0.7, "temperature": 4.0}
    assert {name: network.role for name, network in catalog.networks.items()} == {n: m.role for n, m in MODELS.items()}


def test_a_comparison_counts_what_the_models_say(
    tiny_bundle: Bundle, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "MOST_BUSY", 101.0)
    comparison = jobs.compare(Compare(tiny_bundle.path, str(labelled)), quiet)
    evaluation = comparison.evaluation
    assert evaluation is not None
    assert evaluation.metrics.n == 12
    assert evaluation.metrics.split == "test"
    for role in ("teacher", "student"):
        matrix = np.array(evaluation.metrics.of(role).confusion)
        assert matrix.sum(axis=1).tolist() == [4, 4, 4]
        assert evaluation.metrics.of(role).accuracy.value == pytest.approx(np.trace(matrix) / 12)
        assert evaluation.curves[role].roc["benign"].false[0] == 0
        assert evaluation.curves[role].roc["benign"].true[-1] == 1
        assert sum(evaluation.curves[role].reliability.count) == 12
    assert evaluation.flips == len(evaluation.shown)
    assert all(flip.file and flip.file.is_file() and flip.teacher != flip.student for flip in evaluation.shown)
    alike = evaluation.metrics.look_alike
    assert alike is not None
    assert alike.cases is None  # they are told once, with their files
    assert (alike.n + alike.flat, len(evaluation.looks)) == (12, 12)
    for case in evaluation.looks:
        assert case.file == labelled / case.path
        for role in case.pictures:
            picture = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(case.pictures[role]))))
            assert picture.shape == (SIDE, SIDE, 3)
    assert comparison.speed is not None
    times = {(row.role, row.engine) for row in comparison.speed.rows}
    assert times >= {("teacher", "torch eager"), ("student", "ONNX Runtime")}


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
    comparison = jobs.compare(Compare(tiny_bundle.path, str(labelled), masks=str(tmp_path / "masks")), quiet)
    assert comparison.evaluation is not None
    localization = comparison.evaluation.localization
    assert localization is not None
    assert localization.images == 3
    assert localization.area == pytest.approx(0.5)
    assert 0 <= localization.student.all.lift.value <= 2
    without = jobs.compare(Compare(tiny_bundle.path, str(labelled)), quiet).evaluation
    assert without is not None
    assert without.localization is None


def test_without_data_only_the_clock_is_asked(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MOST_BUSY", 101.0)
    comparison = jobs.compare(Compare(tiny_bundle.path, None), quiet)
    assert (comparison.evaluation, comparison.busy) == (None, None)
    assert comparison.speed is not None


def test_on_a_busy_machine_no_time_is_taken(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MOST_BUSY", -1.0)
    comparison = jobs.compare(Compare(tiny_bundle.path, None), quiet)
    assert (comparison.evaluation, comparison.speed) == (None, None)
    assert "Try again when it is quiet." in (comparison.busy or "")


def test_an_estimate_grows_with_the_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdlight.training.effort._step", lambda *_: 0.1)
    recipe = shipped()["kdlight-synthetic"]
    short = jobs.estimate_time(EstimateTime(read_recipe(recipe, ["train.epochs=2"])), quiet)
    long = jobs.estimate_time(EstimateTime(read_recipe(recipe, ["train.epochs=20"])), quiet)
    steps = 2 * 18 * math.ceil(114 / 16)  # of the student with its teacher and without
    assert long.seconds - short.seconds == pytest.approx(1.25 * steps * 0.1)
    assert short.images == 114
