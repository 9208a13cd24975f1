"""The benchmark of training: its ways train what they say, and its report fits what was timed. Never how fast."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from kdlight.benchmark import BenchmarkError, epochs, training
from kdlight.benchmark.training import ALONE, ASKED, CACHED, PLAIN, Bench
from kdlight.data import synthetic
from kdlight.data.dataset import Progress

SIZE = 32


def test_cached_outputs_teach_what_the_asked_teacher_would(bench: Bench) -> None:
    """The same student after an epoch, whichever way the teacher's part of a batch came."""
    teacher = bench.model("kdlight_small")
    cache, ms_per_image = bench.cache(teacher, "kdlight_small")
    assert ms_per_image > 0
    cached, asked = bench.loop(teacher, cache), bench.loop(teacher, cache)
    object.__setattr__(asked, "teacher_cache", None)
    a, b = cached.epoch(0), asked.epoch(0)
    assert a == pytest.approx(b, rel=1e-3)
    assert a["distill"] > 0  # the teacher's part of the loss


def test_the_plain_loop_moves_its_student_only(bench: Bench) -> None:
    student, teacher = bench.model("kdlight_nano"), bench.model("kdlight_small")
    before = [{k: v.clone() for k, v in model.state_dict().items()} for model in (student, teacher)]
    training.plain(teacher, student, bench.train, bench.spec)
    assert not torch.equal(student.classifier.weight, before[0]["classifier.weight"])
    assert all(torch.equal(v, before[1][k]) for k, v in teacher.state_dict().items())


def test_the_report_fits_what_was_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a race whose times are known: ratios, targets and what filling costs, reckoned by hand."""
    milliseconds = {ALONE: 10.0, CACHED: 11.0, ASKED: 22.0, PLAIN: 33.0, "kdlight_base": 12.5}

    def race(ways: dict[str, object], rounds: int, warmups: int, seed: int = 0, progress: Progress | None = None):  # type: ignore[no-untyped-def]
        if progress is not None:
            progress(rounds + warmups, rounds + warmups)
        return {name: [milliseconds.get(name, 20.0)] * rounds for name in ways}

    monkeypatch.setattr(training, "interleave", race)
    monkeypatch.setattr(training, "TEACHER", "kdlight_small")
    seen: list[tuple[int, int]] = []
    report = epochs(None, 64, SIZE, 3, 1, ("kdlight_base",), lambda done, total: seen.append((done, total)))
    json.dumps(report.model_dump(mode="json"), allow_nan=False)
    ratios = report.ratios
    assert ratios.over_alone == {"kdlight_small": pytest.approx(1.1), "kdlight_base": pytest.approx(1.25)}
    assert report.ratio == ratios.faster_than_plain == pytest.approx(3)
    assert ratios.faster_than_asking == pytest.approx(2)
    assert {goal.name: goal.reached for goal in report.targets} == {
        "over_alone kdlight_small": True,
        "over_alone kdlight_base": False,
        "faster_than_plain kdlight_small": True,
    }
    cost = report.filling.ms_per_image_and_view["kdlight_small"]
    assert report.filling.paid_after_epochs == pytest.approx(15 * cost * 64 / 11)
    names = [row.name for row in report.rows]
    assert len(set(names)) == len(names)
    assert {report.candidate, report.baseline} < set(names)
    assert {row.name: row.teacher for row in report.rows}["outputs of kdlight_base cached, 64 images"] == "kdlight_base"
    assert seen == [(4, 8), (8, 8)]


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    few = synthetic(tmp_path / "few", per_class=12, size=SIZE)
    with pytest.raises(BenchmarkError, match="An epoch of 36 images is too short"):
        epochs(few, size=SIZE)
