"""The gain is what an independent count says, and it is called proven only when its interval leaves out 0."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from sklearn.metrics import balanced_accuracy_score

from kdlight import pipeline, runs
from kdlight.bundle import load
from kdlight.config import Recipe, RecipeError
from kdlight.golden import check
from kdlight.metrics import Interval
from kdlight.study import publish, study, summarize, words

RECIPE = Recipe.from_mapping({"data": {"path": "x", "modality": "mri"}})


def answers(folder: Path, right: dict[str, float], seed: int) -> runs.Run:
    """A finished run of 120 images, each model right on its share of them."""
    rng = np.random.default_rng(seed)
    labels = np.arange(120) % 3
    tensors = {"labels": labels, "groups": np.arange(120) // 2}
    for name, share in right.items():
        said = np.where(rng.uniform(size=120) < share, labels, (labels + 1) % 3)
        tensors[name] = np.eye(3)[said] * 0.9 + 0.1 / 3
    run = runs.create(RECIPE.to_toml(), path=folder / f"seed-{seed}")
    save_file(tensors, run.path / pipeline.PREDICTIONS)
    return run


def test_the_summary_agrees_with_an_independent_count(tmp_path: Path) -> None:
    finished = [answers(tmp_path, {"teacher": 0.95, "student": 0.9, "alone": 0.6}, seed) for seed in range(3)]
    found = summarize(RECIPE, finished)
    from safetensors.numpy import load_file

    for row, run in zip(found["seeds"], finished, strict=True):
        stored = load_file(run.path / pipeline.PREDICTIONS)
        for name in ("teacher", "student", "alone"):
            expected = balanced_accuracy_score(stored["labels"], stored[name].argmax(1))
            assert row[name] == pytest.approx(expected)
    assert found["mean"]["student"] == pytest.approx(np.mean([row["student"] for row in found["seeds"]]))
    gain = found["gain_over_alone"]
    assert gain["value"] == pytest.approx(found["mean"]["student"] - found["mean"]["alone"], abs=1e-9)
    assert gain["low"] > 0
    assert found["gain"].startswith("gain +")
    assert found["retained"] == pytest.approx(found["mean"]["student"] / found["mean"]["teacher"])


def test_two_students_of_one_strength_have_no_proven_gain(tmp_path: Path) -> None:
    found = summarize(RECIPE, [answers(tmp_path, {"teacher": 0.9, "student": 0.7, "alone": 0.7}, 0)])
    assert found["gain"].startswith("no proven gain")
    assert found["deviation"]["student"] is None


def test_the_words_follow_the_interval() -> None:
    assert words(Interval(0.05, 0.01, 0.09)) == "gain +5.0 [+1.0, +9.0]"
    assert words(Interval(0.05, -0.01, 0.09)) == "no proven gain: +5.0 [-1.0, +9.0]"
    assert words(None).startswith("no proven gain")


def test_a_study_without_its_baseline_is_refused(tmp_path: Path) -> None:
    alone = Recipe.from_mapping({"data": {"path": "x", "modality": "mri"}, "train": {"alone": False}})
    with pytest.raises(RecipeError, match=r"train\.alone = true"):
        next(study(alone, tmp_path, 2))


def test_the_card_tells_the_study_and_the_bundle_stays_sound(bundle_copy: Path, tmp_path: Path) -> None:
    summary = summarize(
        RECIPE, [answers(tmp_path, {"teacher": 0.9, "student": 0.8, "alone": 0.6}, s) for s in range(2)]
    )
    publish(bundle_copy, tmp_path / "published", summary)
    found = load(tmp_path / "published")
    assert found.card.metrics["study"]["mean"] == summary["mean"]
    assert "Over 2 student seeds and one teacher" in found.card.limits[-1]
    assert check(found)["ok"]
