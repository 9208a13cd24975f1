"""The baseline finds what there is to find, splits as it should, and says how sure it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from kdlight.baselines import handcrafted
from kdlight.bundle import Bundle
from kdlight.cli import main
from kdlight.data import DataError, open_dataset, synthetic
from kdlight.data.splits import straddling
from kdlight.models import create_model
from kdlight.preprocessing import InputSpec


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs, rings and stars, 24 of each, two to a group."""
    return synthetic(tmp_path_factory.mktemp("baseline") / "shapes", per_class=24, size=48, noise=0.04)


def test_shapes_are_told_apart_by_hand_and_the_network_adds_its_part(shapes: Path) -> None:
    torch.manual_seed(0)
    dataset = handcrafted.split(open_dataset(shapes))
    assert straddling(dataset) == {}
    found = handcrafted.measure(dataset, InputSpec(48), create_model("kdlight_nano", 3))
    assert set(found.to_json()) == {"split", "n", "handcrafted", "deep", "both", "gain"}
    assert found.n == len(dataset.split("test")) >= 12
    assert found.handcrafted.balanced_accuracy.value > 0.7
    assert found.both.features == found.handcrafted.features + found.deep.features
    assert found.handcrafted.features == 1868
    for fitted in (found.handcrafted, found.deep, found.both):
        assert fitted.accuracy.low <= fitted.accuracy.value <= fitted.accuracy.high
        assert fitted.C in handcrafted.PENALTIES
    for other in (found.handcrafted, found.deep):
        gain = found.gain["deep" if other is found.deep else "handcrafted"]
        assert gain.value == pytest.approx(found.both.balanced_accuracy.value - other.balanced_accuracy.value)


def test_the_test_split_decides_nothing() -> None:
    """Whatever stands in the test features, what is chosen stays, and each answer hangs on its own row alone."""
    rng = np.random.default_rng(0)
    labels = {name: np.arange(30) % 3 for name in ("train", "val", "test")}
    kind = {name: rng.normal(size=(30, 5)) + labels[name][:, None] for name in labels}
    first, chosen = handcrafted.fit([kind], labels, 3)
    changed = {**kind, "test": np.concatenate([kind["test"][:10], rng.normal(50, 9, (20, 5))])}
    second, again = handcrafted.fit([changed], {**labels, "test": labels["test"][::-1]}, 3)
    assert chosen == again
    np.testing.assert_allclose(first[:10], second[:10])


@pytest.mark.parametrize("count", [2, 3])
def test_the_top_class_is_the_machine_s_own(count: int) -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(60) % count
    points = rng.normal(size=(60, 4)) + 2 * labels[:, None]
    machine = SVC(decision_function_shape="ovr").fit(points, labels)
    found = handcrafted.margins(machine, points, count)
    assert found.shape == (60, count)
    assert (found.argmax(axis=1) == machine.predict(points)).mean() > 0.95


def test_kinds_weigh_alike_however_long_they_are() -> None:
    rng = np.random.default_rng(2)
    long, short = ({"train": rng.normal(3, 7, (50, size))} for size in (1000, 10))
    both = handcrafted.together([long, short])["train"]
    parts = [both[:, :1000], both[:, 1000:]]
    for part in parts:
        apart = ((part[:, None] - part[None]) ** 2).sum(axis=2)
        assert apart.sum() / (50 * 50) == pytest.approx(2)
    constant = handcrafted.together([{"train": np.ones((5, 3)), "test": np.ones((2, 3))}])
    assert not constant["test"].any()


def test_deep_features_are_the_means_of_the_last_maps() -> None:
    torch.manual_seed(0)
    network, spec = create_model("kdlight_nano", 3).eval(), InputSpec(64)
    pixels = np.random.default_rng(3).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    found = handcrafted.pooled(network, spec, pixels)
    with torch.no_grad():
        maps = network.forward_with_features(spec.normalise(torch.from_numpy(pixels)))[1][-1]
    np.testing.assert_allclose(found, maps.flatten(2).mean(2).numpy(), rtol=1e-5)


def test_groups_on_both_sides_are_refused(shapes: Path, tmp_path: Path) -> None:
    files = sorted((shapes / "disc").glob("*.png"))[:2]
    table = tmp_path / "torn.csv"
    table.write_text(f"path,class,split,group\n{files[0]},a,train,g\n{files[1]},b,test,g\n")
    with pytest.raises(DataError, match=r"1 groups of .* are in more than one split"):
        handcrafted.split(open_dataset(table))


def test_the_command_answers_in_json(shapes: Path, tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baseline", "handcrafted", str(shapes), "--bundle", str(tiny_bundle.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["network"] == "tiny_mri teacher"
    assert found["size"] == 64
    assert found["deep"]["features"] == 1280
    assert main(["baseline", "handcrafted", str(shapes), "--size", "32"]) == 0
    said = capsys.readouterr().out
    assert "balanced accuracy" in said
    assert "deep" not in said


def test_a_set_of_one_class_is_refused(tmp_path: Path, shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted((shapes / "disc").glob("*.png"))[:3]
    rows = [f"{file},a,{split}" for file, split in zip(files, ("train", "val", "test"), strict=True)]
    (tmp_path / "one.csv").write_text("path,class,split\n" + "\n".join(rows) + "\n")
    assert main(["baseline", "handcrafted", str(tmp_path / "one.csv")]) == 2
    assert "an SVM needs images of two classes" in capsys.readouterr().err
