"""Runs, studies and journals after a stranger had them: listed or not, with a sentence; whoever looks goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from kdlight import runs
from kdlight.bundle.study_record import StudyRecord
from kdlight.cli.output import mistake
from kdlight.contracts.recipe import Recipe, RecipeError
from kdlight.inference import Journal, JournalError
from kdlight.runs import RunError
from kdlight.studies import RecordError, read
from kdlight.studies.gains import with_baseline
from kdlight.studies.records import command_of, read_grid
from kdlight.ui.compare import studies
from kdlight.ui.train import run_view
from tests.epochs import epoch
from tests.hostile.conftest import Trials
from tests.odd import odd_record

RECIPE = Recipe(**{"data": {"path": "x", "modality": "mri"}})
SEEDS = [{"seed": n, "teacher": 0.9, "student": 0.85, "alone": 0.8 + n / 100} for n in range(2)]
INTERVAL = {"value": 0.05, "low": 0.01, "high": 0.1}
STUDY = {
    "schema": "kdlight.study/1",
    "recipe": "kdlight-busi3",
    "data": {
        "name": "tiny",
        "title": "Tiny",
        "modality": "us",
        "size": 64,
        "classes": ["a", "b"],
        "images": {"test": 6},
    },
    "seeds": SEEDS,
    "gain_over_alone": INTERVAL,
    "gap_to_teacher": INTERVAL,
    "gain_over_same_start": INTERVAL,
    "mcnemar_p": 0.5,
    "mcnemar_pooled_p": 0.02,
    "models": {
        "teacher": {"architecture": "mobilenetv2", "parameters": 2_228_996, "bytes": 4_550_536, "start": "x.pth"},
        "student": {"architecture": "kdlight_nano", "parameters": 207_444, "start": "teacher", "macs": 5},
    },
    "method": {"name": "kd", "paper": "Hinton", "options": {"alpha": 0.7, "temperature": 4}},
    "epochs": {"teacher": 2, "student": 4, "alone": 4},
    "minutes": {"teacher": 1.5, "student": 3.0, "alone": None},
    "settings": {"data": {"size": 64}, "train": {"epochs": 4, "views": 15}, "teacher": {"lr": 0.001}},
    "latency": {
        **{"teacher": 10.0, "student": 1.0, "of": ["torch", "onnx"], "size": 64, "threads": 1, "runs": 50},
        **{"cpu": "one", "cores": 2},
    },
}
CELL = {"name": "a", "values": {"distill.dual": "true"}, "seeds": SEEDS, "mean": SEEDS[0], "gain_over_alone": INTERVAL}
GRID = {
    **{"schema": "kdlight.grid/1", "recipe": "tiny", "keys": ["distill.dual"], "cells": [CELL]},
    "differences": [{"first": "a", "second": "b", "difference": INTERVAL, "words": "+1"}],
}
STATUS = {
    **{"state": "done", "phase": "bundle", "epoch": 3, "epochs": 3, "started": 1.7e9, "updated": 1.7e9, "message": "x"},
    **{"at_chance": ["student"], "effort": "quick", "expected_seconds": 60.0},
}


def told(error: Exception) -> None:
    """One sentence for people."""
    said = mistake(error)
    assert said
    assert "Traceback" not in said
    assert len(said) < 1500


def drawn(record: StudyRecord) -> None:
    """All that the page makes of a record."""
    record = with_baseline(record, [record])
    for part in (studies.verdict, studies.rests_on, studies.differences, studies.seeds_table, studies.costs_table):
        part(record)
    studies._title(record)
    studies._method(record)
    command_of(record)


def test_a_study_is_refused_with_a_sentence_or_can_be_drawn(trials: Trials, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    file, kept = tmp_path / "study" / "study.json", 0
    for rng in trials():
        file.write_bytes(odd_record(STUDY, rng))
        try:
            record = read(file)
        except RecordError as error:
            told(error)
            continue
        drawn(record)
        kept += 1
    assert kept


def test_an_ablation_is_refused_with_a_sentence_or_can_be_drawn(trials: Trials, tmp_path: Path) -> None:
    file = tmp_path / "grid.json"
    for rng in trials():
        file.write_bytes(odd_record(GRID, rng))
        try:
            record = read_grid(file)
        except RecordError as error:
            told(error)
            continue
        studies.cells_table(record)
        studies.differences_table(record)


def test_a_run_is_listed_and_can_be_told_of_or_is_not_with_a_sentence(trials: Trials, tmp_path: Path) -> None:
    run = runs.create(RECIPE, path=tmp_path / "run")
    process = (run.path / "process.json").read_bytes()
    log = json.loads(epoch("student", 1).to_json())
    recipe = RECIPE.to_toml().encode()
    for rng in trials():
        (run.path / "status.json").write_bytes(odd_record(STATUS, rng))
        (run.path / "log.jsonl").write_bytes(b"\n".join(odd_record(log, rng) for _ in range(3)))
        (run.path / "process.json").write_bytes(odd_record(json.loads(process), rng))
        (run.path / "start.txt").write_bytes(odd_record({"kind": "random", "words": "x"}, rng))
        text = bytearray(recipe)
        text[int(rng.integers(len(text)))] = int(rng.integers(256))
        run.recipe.write_bytes(text)
        listed, broken = runs.list_runs(tmp_path)
        assert len(listed) + len(broken) == 1
        assert all(why.startswith("run is not listed, because ") and len(why) < 1000 for why in broken)
        run.log()
        run.teacher_start()
        if listed:
            status = run.status()
            run_view.title(run)
            run_view._progress(status, run.log(), ())
        try:
            run.read_recipe()
        except (RecipeError, RunError) as error:
            told(error)


def test_a_journal_goes_on_whole_or_says_why_and_is_left_as_it_is(trials: Trials, tmp_path: Path) -> None:
    settings = {"bundle": "tiny"}
    with Journal(tmp_path, settings) as journal:
        journal.append({"file": f"/scans/{number}", "refused": "drawn"} for number in range(20))
    file = tmp_path / "readings.jsonl"
    whole = file.read_bytes()
    names = {f"/scans/{number}" for number in range(20)}
    for rng in trials():
        content = changed(whole, rng)
        file.write_bytes(content)
        try:
            with Journal(tmp_path, settings, resume=True) as journal:
                done = journal.done
        except JournalError as error:
            told(error)
            assert file.read_bytes() == content
            continue
        left = file.read_bytes()
        assert content.startswith(left)
        assert b"\n" not in content[len(left) :]
        assert len(done) == left.count(b"\n")
        if content == whole:
            assert done == names


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """A file with bytes changed, a part of it gone, doubled, zeroed, or its lines in another order."""
    data, start, length = bytearray(content), int(rng.integers(len(content))), int(rng.integers(1, 80))
    match int(rng.integers(6)):
        case 0:
            for place in rng.integers(len(data), size=int(rng.integers(1, 4))):
                data[place] = int(rng.integers(256))
        case 1:
            del data[start : start + length]
        case 2:
            data[start:start] = data[start : start + length]
        case 3:
            data[start : start + length] = bytes(length)
        case 4:
            del data[start:]
        case _:
            lines = content.splitlines(keepends=True)
            return b"".join(lines[i] for i in rng.permutation(len(lines)))
    return bytes(data)
