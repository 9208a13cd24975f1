"""From a recipe to a bundle on drawn images: resumed after a kill, measured on the part that was never trained on."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdlight import runs, training
from kdlight.bundle import Bundle, load
from kdlight.contracts.reading import ROLES
from kdlight.contracts.recipe import DistillConfig, Recipe, read_recipe, shipped
from kdlight.data import DataError, synthetic
from kdlight.inference import Predictor, golden, measures
from kdlight.inference.evaluate import _logits_both_ways, evaluate
from kdlight.metrics.operating import SLACK
from kdlight.models import create_model, start_from
from kdlight.preprocessing.augment import augmentation
from kdlight.training import Arrays
from kdlight.training.card import CardError
from kdlight.training.loop import Loop
from kdlight.training.phases import Phases


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A MobileNetV2 state dict, so that no run asks the network."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(create_model("mobilenetv2", 2).state_dict(), tmp_path / "start.safetensors")
    return tmp_path / "start.safetensors"


def recipe(weights: Path, *overrides: str) -> Recipe:
    few = ("train.epochs=2", "teacher.epochs=1", "train.batch_size=32", "data.size=32", f"teacher.weights={weights}")
    return read_recipe(shipped()["kdlight-synthetic"], [*few, *overrides])


def test_a_class_that_no_card_can_name_is_refused_before_any_training(weights: Path, tmp_path: Path) -> None:
    folder = synthetic(tmp_path / "drawn", per_class=12, size=32)
    (folder / "manifest.csv").unlink()
    min(folder.iterdir()).rename(folder / "two\nlines")
    run = runs.create(recipe(weights, f"data.path={folder}"), path=tmp_path / "run")
    with pytest.raises(CardError, match="cannot be the name of a class"):
        next(training.execute(read_recipe(run.recipe), run))


def test_a_recipe_ends_in_a_bundle_that_verifies(weights: Path, tmp_path: Path) -> None:
    wanted = recipe(weights, "data.val=0.5")  # so that half of it is enough for a promise
    run = runs.create(wanted, path=tmp_path / "run")
    records = list(training.execute(wanted, run))
    assert [(r.phase, r.epoch) for r in records] == [
        ("teacher", 1),
        ("alone", 1),
        ("alone", 2),
        ("student", 1),
        ("student", 2),
    ]
    assert run.log() == records
    bundle = load(run.bundle)
    assert golden.check(bundle).ok
    card = bundle.card
    assert card.metrics.n == sum(card.data.counts["test"].values())
    assert set(card.metrics.reports) == {"teacher", "student", "alone"}
    assert card.metrics.agreement is not None
    interval = card.metrics.student.balanced_accuracy
    assert interval.low <= interval.value <= interval.high
    assert (card.teacher.start, card.teacher.start_kind) == ("start.safetensors", "file")
    failed = [r for r in ("teacher", "student") if card.metrics.of(r).balanced_accuracy.low <= 1 / 3]
    assert failed  # one epoch from random weights teaches nobody
    assert list(card.at_chance) == list(card.metrics.at_chance) == list(run.status().at_chance or ()) == failed
    assert [f"its {r} is no better than chance" in " ".join(card.limits) for r in ("teacher", "student")] == [
        r in failed for r in ("teacher", "student")
    ]
    assert str(tmp_path) not in (bundle.path / "card.json").read_text()
    (step,) = card.metrics.ledger.steps
    recalls = [round(card.metrics.of(r).recall["ring"].value * step.classes["ring"].n) for r in ("teacher", "student")]
    assert [step.classes["ring"].before, step.classes["ring"].after] == recalls
    calibrated_by_what_chose_nothing(bundle, training.prepare(wanted.data, run.path))


def calibrated_by_what_chose_nothing(bundle: Bundle, data: training.RunData) -> None:
    """The thresholds of a run's sets, worked out again from the images that the card says are for that."""
    card, dataset = bundle.card, data.dataset
    chose, held = dataset.split("val"), dataset.split("calibration")
    assert set(chose.groups).isdisjoint(held.groups)
    assert card.data.counts["calibration"] == held.counts()
    assert abs(len(chose) - len(held)) <= 2 * len(dataset.classes)  # groups are two images
    x = bundle.spec.normalise(data.splits["calibration"].pixels)
    for role in ROLES:
        p = Predictor(bundle).probabilities(role, x)[np.arange(len(held)), held.labels]
        n, least = len(np.unique(held.groups)), np.sort(1 - p)
        weight = np.arange(1, len(p) + 1) / 2 / (n + 1)
        assert card.conformal.of(role).qhat == pytest.approx(least[weight >= 0.9][0], abs=1e-5)
        assert card.conformal.of(role).n == n == len(p) / 2
        assert {name: 2 * one.n for name, one in card.conformal.of(role).classes.items()} == held.counts()
    assert {found.kind for found in card.metrics.coverage["student"]} == {"lac", "aps", "class_lac", "class_aps"}


def test_an_evaluation_of_the_shipped_files_repeats_the_card(weights: Path, tmp_path: Path) -> None:
    run = runs.create(recipe(weights), path=tmp_path / "run")
    list(training.execute(recipe(weights, "train.alone=false"), run))
    data = training.open_set(recipe(weights).data, run.path)
    found = evaluate(load(run.bundle), data.split("test"), corruptions=True)
    recorded = load(run.bundle).card.metrics.corruptions
    assert recorded is not None
    assert len(recorded) == len(found.corruptions) == 15
    for there, here in zip(recorded, found.corruptions, strict=True):
        assert there.n == here.n == len(data.split("test"))
        assert (there.kind, there.severity) == (here.kind, here.severity)
        assert [i.value for i in (there.teacher, there.student, there.gap)] == pytest.approx(
            [i.value for i in (here.teacher, here.student, here.gap)], abs=1e-6
        )
    here, there = measures.shortcuts_of(load(run.bundle), found), load(run.bundle).card.metrics.shortcuts
    assert there is not None
    assert [probe.kind for probe in there.probes] == ["rim", "center", "corners", "cropped", "marker"]
    for one, other in zip(there.probes, here.probes, strict=True):
        for name in ("teacher", "student", "gap", "teacher_changed", "student_changed"):
            assert getattr(one, name).value == pytest.approx(getattr(other, name).value, abs=1e-6), (one.kind, name)
    for role in ("teacher", "student"):
        for metric in ("accuracy", "balanced_accuracy", "brier"):
            assert found.to_json()[role][metric] == pytest.approx(
                load(run.bundle).card.metrics.to_json()[role][metric], abs=1e-6
            )


def test_thresholds_are_chosen_on_calibration_images_and_measured_on_test(weights: Path, tmp_path: Path) -> None:
    """Held against the answers of the shipped files."""
    names = training.open_set(recipe(weights).data, tmp_path).classes
    words = '={words="Kind", must_not_miss=true, sensitivity=0.8}'
    urgent = recipe(weights, "train.alone=false", f"data.classes.{names[0]}{words}", "data.val=0.5")
    run = runs.create(urgent, path=tmp_path / "run")
    list(training.execute(urgent, run))
    bundle, data = load(run.bundle), training.prepare(urgent.data, run.path).dataset
    points = bundle.card.operating
    assert points is not None
    assert tuple(points) == bundle.card.must_not_miss == (names[0],)
    val, test = (evaluate(bundle, data.split(name), name) for name in ("calibration", "test"))
    of_it = val.part.labels == 0
    assert points[names[0]].n == len(set(val.part.groups[of_it].tolist())) < of_it.sum()
    rank = int((of_it.sum() + 1) * 0.2 + 1e-9)
    for role in ("teacher", "student"):
        scores = np.sort(val.probabilities[role][of_it, 0])
        point = points[names[0]].at(role)
        assert point.threshold == pytest.approx(scores[rank - 1] - SLACK, abs=SLACK)
        assert bundle.card.thresholds(role)[names[0]] == point.threshold
        called = test.probabilities[role][:, 0] >= point.threshold
        assert point.sensitivity.value == pytest.approx(called[test.part.labels == 0].mean())
        assert point.specificity.value == pytest.approx((~called)[test.part.labels != 0].mean())
        assert points[names[0]].at(role, 0.98).threshold is None  # needs 49
    assert bundle.card.sensitivities() == {names[0]: 0.8}
    assert golden.check(bundle).ok


def test_a_mirrored_evaluation_means_both_ways(weights: Path, tmp_path: Path) -> None:
    run = runs.create(recipe(weights), path=tmp_path / "run")
    list(training.execute(recipe(weights, "train.alone=false", "data.modality=mri"), run))
    bundle = load(run.bundle)
    pixels = training.prepare(recipe(weights).data, run.path).splits["test"].pixels.numpy()
    predictor = Predictor(bundle)
    ways = [
        predictor.logits("teacher", bundle.spec.normalise(torch.from_numpy(p.copy())))
        for p in (pixels, pixels[:, :, ::-1])
    ]
    found = _logits_both_ways(predictor, "teacher", pixels)
    np.testing.assert_allclose(found, (ways[0] + ways[1]) / 2, atol=1e-5)
    data = training.open_set(recipe(weights).data, run.path)
    seen = evaluate(bundle, data.split("test"), mirrored=True)
    labels = data.split("test").labels
    assert seen.teacher.accuracy.value == pytest.approx((found.argmax(1) == labels).mean())
    sided = dataclasses.replace(bundle, card=bundle.card.replace(modality="xray"))
    with pytest.raises(DataError, match="xray is never mirrored"):
        evaluate(sided, data.split("test"), mirrored=True)


def test_a_killed_run_loses_at_most_one_epoch(weights: Path, tmp_path: Path) -> None:
    wanted = recipe(weights, "train.epochs=30", "train.alone=false")
    run = runs.start(wanted, tmp_path / "runs")
    deadline = time.monotonic() + 120
    while not any(r.phase == "student" and r.epoch >= 2 for r in run.log()):
        assert time.monotonic() < deadline, run.output.read_text()
        assert run.status().state in ("queued", "running"), run.output.read_text()
        time.sleep(0.05)
    os.kill(run.status().pid, signal.SIGKILL)
    while run.live():
        time.sleep(0.05)
    assert run.status().state == "stopped"
    done = len(run.log())
    short = wanted.to_toml().replace("epochs = 30", f"epochs = {done + 2}")
    run.recipe.write_text(short)
    command = [sys.executable, "-m", "kdlight", "train", str(run.recipe), "--out", str(run.path), "--resume"]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    epochs = [r.epoch for r in run.log() if r.phase == "student"]
    assert epochs == list(range(1, done + 3))
    assert run.status().state == "done"


def test_alone_never_inherits_from_the_taught_teacher(weights: Path, tmp_path: Path) -> None:
    run = runs.create(recipe(weights), path=tmp_path / "run")
    data = training.prepare(recipe(weights).data, run.path)
    phases = Phases(recipe(weights), run, data, torch.ones(len(data.classes)), augmentation("none", 32))
    list(phases.teacher())
    first = create_model("mobilenetv2", len(data.classes))
    start_from(first, "mobilenetv2", str(weights))
    taught, alone, scratch = (phases.new_student(phase) for phase in ("student", "alone", "scratch"))
    kept = first.head[0].weight[::4, ::4]
    assert torch.equal(alone.head[0].weight, kept)
    assert not torch.equal(taught.head[0].weight, kept)
    assert not torch.equal(scratch.head[0].weight, kept)


def test_only_the_taught_student_starts_from_the_general_weights(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(5)
    general = create_model("kdlight_nano", 24).state_dict()
    save_file(general, tmp_path / "general.safetensors")
    options = ("student.init=general", f"student.weights={tmp_path / 'general.safetensors'}")
    asked = recipe(weights, *options)
    run = runs.create(asked, path=tmp_path / "run")
    data = training.prepare(asked.data, run.path)
    phases = Phases(asked, run, data, torch.ones(len(data.classes)), augmentation("none", 32))
    taught, alone, same = (phases.new_student(phase) for phase in ("student", "alone", "same_start"))
    assert all(torch.equal(tensor, same.state_dict()[name]) for name, tensor in taught.state_dict().items())
    source = create_model("mobilenetv2", 2)
    start_from(source, "mobilenetv2", str(weights))
    assert torch.equal(taught.head[0].weight, general["head.0.weight"])
    assert torch.equal(alone.head[0].weight, source.head[0].weight[::4, ::4])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["student.name=ofa595"], "both must be of one family"),
        (["student.name=ofa595", "student.init=general"], "No general weights are shipped for ofa595"),
        (["distill.method=auc_margin"], "auc_margin"),
        (["distill.method=kd", "distill.temperature=-1"], "temperature"),
        (["distill.method=fitnet", "train.epochs=1"], "train.epochs = 1 leaves none for the second. Give 2 or more"),
        (["distill.method=fitnet", "distill.stage=0.7", "train.epochs=3"], "spends 70% .* Give 4 or more"),
    ],
)
def test_what_no_student_can_learn_is_refused_before_the_teacher_learns(
    weights: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    asked = recipe(weights, "train.alone=false", *options)
    run = runs.create(asked, path=tmp_path / "run")
    with pytest.raises(ValueError, match=said):
        list(training.execute(asked, run))
    assert run.log() == []


def test_a_class_with_one_image_is_named(weights: Path, tmp_path: Path) -> None:
    run = runs.create(recipe(weights), path=tmp_path / "run")
    data = training.open_set(recipe(weights).data, run.path).source.name
    folder = next(Path(run.path / "synthetic").glob("*/"))
    assert data
    for image in sorted(folder.glob("*.png"))[1:]:
        image.unlink()
    (run.path / "synthetic" / "manifest.csv").unlink()
    with pytest.raises(DataError, match=folder.name):
        list(training.execute(recipe(weights), run))


@pytest.mark.parametrize(
    ("splits", "said"),
    [(("test", "train"), "in more than one split"), (("train", "trian"), r"image\(s\) are in a split 'trian'")],
    ids=["a group in two splits", "a split of another name"],
)
def test_a_set_whose_splits_cannot_be_trusted_is_not_trained_on(
    weights: Path, tmp_path: Path, splits: tuple[str, str], said: str
) -> None:
    run = runs.create(recipe(weights), path=tmp_path / "run")
    training.open_set(recipe(weights).data, run.path)
    manifest = run.path / "synthetic" / "manifest.csv"
    header, *rows = manifest.read_text().splitlines()
    split = [f"{row},{splits[number % 2]}" for number, row in enumerate(rows)]
    manifest.write_text("\n".join([f"{header},split", *split]) + "\n")
    with pytest.raises(DataError, match=said):
        list(training.execute(recipe(weights), run))


def test_a_folder_above_the_classes_is_no_set_of_one_class(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "above").mkdir()
    synthetic(tmp_path / "above" / "shapes", per_class=6, size=32)
    with pytest.raises(DataError, match="There is one class, shapes; two or more were expected"):
        training.open_set(recipe(weights, f"data.path={tmp_path / 'above'}").data, tmp_path)


def test_words_for_a_class_that_the_set_lacks_are_refused(weights: Path, tmp_path: Path) -> None:
    asked = recipe(weights, "data.classes.Disc.words=A disc")
    with pytest.raises(DataError, match=r"describes the class Disc, which .* has not; its classes are disc, ring"):
        training.open_set(asked.data, tmp_path)


def test_labels_are_hidden_by_group_and_class(weights: Path, tmp_path: Path) -> None:
    run = runs.create(recipe(weights), path=tmp_path / "run")
    whole = training.prepare(recipe(weights).data, run.path)
    data = training.prepare(recipe(weights, "data.labeled=0.25").data, run.path)
    labels, truth = data.splits["train"].labels, whole.splits["train"].labels
    known = labels >= 0
    assert torch.equal(labels[known], truth[known])
    shares = [float(known[truth == c].float().mean()) for c in range(len(data.classes))]
    assert shares == pytest.approx([0.25] * len(shares), abs=0.1)
    assert torch.equal(data.labeled.pixels, whole.splits["train"].pixels[known])
    assert (data.splits["val"].labels >= 0).all()


def test_alone_takes_as_many_steps_as_the_taught_student_where_labels_are_hidden(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Arrays] = {}

    def fit(loop: Loop, _val: Arrays, phase: str, *_rest: Any) -> Iterator[Any]:
        seen[phase] = loop.train
        return iter(())

    monkeypatch.setattr("kdlight.training.phases.fit", fit)
    asked = recipe(weights, "data.labeled=0.5", "train.scratch=true")
    run = runs.create(asked, path=tmp_path / "run")
    data = training.prepare(asked.data, run.path)
    phases = Phases(asked, run, data, torch.ones(len(data.classes)), augmentation("none", 32))
    for records in (phases.teacher(), *(phases.student(name) for name in ("alone", "scratch", "student"))):
        list(records)
    assert len(seen["alone"]) == len(seen["scratch"]) == len(seen["student"]) == len(data.splits["train"])
    assert (seen["alone"].labels >= 0).all()
    known = len(data.labeled)
    assert len(seen["teacher"]) == known < len(seen["alone"])
    assert torch.equal(seen["alone"].pixels[known], data.labeled.pixels[0])


@pytest.mark.parametrize(
    ("override", "said"), [("data.labeled=0.5", "dkd needs every label"), ("train.mixup=0.2", "dkd needs whole images")]
)
def test_a_method_that_needs_every_label_or_whole_images_says_so(
    weights: Path, tmp_path: Path, override: str, said: str
) -> None:
    wanted = recipe(weights, override).changed(distill=DistillConfig(method="dkd"))
    run = runs.create(wanted, path=tmp_path / "run")
    with pytest.raises(ValueError, match=said):
        list(training.execute(wanted, run))
    assert run.log() == []


def test_a_student_of_the_trained_teacher_has_a_baseline_from_the_same_starting_weights(
    weights: Path, tmp_path: Path
) -> None:
    asked = recipe(weights, "train.same_start=true", "train.alone=false", "train.epochs=1")
    run = runs.create(asked, path=tmp_path / "run")
    records = list(training.execute(asked, run))
    assert [record.phase for record in records] == ["teacher", "same_start", "student"]
    card = load(run.bundle).card
    assert card.metrics.same_start.n == card.metrics.n
    data = training.prepare(asked.data, run.path)
    phases = Phases(asked, run, data, torch.ones(len(data.classes)), augmentation("none", 32))
    taught, same, alone = (phases.new_student(phase) for phase in ("student", "same_start", "alone"))
    assert torch.equal(taught.head[0].weight, same.head[0].weight)
    assert not torch.equal(taught.head[0].weight, alone.head[0].weight)


def test_a_run_whose_checkpoint_was_damaged_goes_on_from_the_one_before_and_keeps_the_sentence(
    weights: Path, tmp_path: Path
) -> None:
    asked = recipe(weights, "train.alone=false", "train.epochs=3")
    whole, run = (runs.create(asked, path=tmp_path / name) for name in ("whole", "run"))
    list(training.execute(asked, whole))
    for record in training.execute(asked, run):
        if (record.phase, record.epoch) == ("student", 2):
            break
    data = bytearray((run.path / "checkpoint.student.safetensors").read_bytes())
    data[-1] ^= 1
    (run.path / "checkpoint.student.safetensors").write_bytes(data)
    assert [(r.phase, r.epoch) for r in training.execute(asked, run)] == [("student", 2), ("student", 3)]
    assert run.status().note.endswith("Training goes on from the one before, epoch 1.")
    for name in ("student", "predictions"):
        one, two = (path / f"{name}.safetensors" for path in (run.path, whole.path))
        assert one.read_bytes() == two.read_bytes()
    assert [(r.phase, r.epoch, r.loss) for r in run.log()] == [(r.phase, r.epoch, r.loss) for r in whole.log()]
