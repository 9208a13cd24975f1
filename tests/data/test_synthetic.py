"""The set made of nothing, and the balance of classes."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight

from kdlight.data import DataError, carve, class_weights, open_dataset, synthetic
from kdlight.preprocessing import InputSpec


def test_the_same_seed_makes_the_same_set_and_pairs_stay_together(shapes: Path, tmp_path: Path) -> None:
    again = synthetic(tmp_path / "again", per_class=12, size=32)
    digest = [
        hashlib.sha256(b"".join(p.read_bytes() for p in sorted(f.rglob("*.png")))).digest() for f in (shapes, again)
    ]
    assert digest[0] == digest[1]
    found = open_dataset(again)
    assert found.counts() == {"disc": 12, "ring": 12, "star": 12}
    assert len(set(found.groups)) == 18
    with pytest.raises(DataError, match="exists already"):
        synthetic(again)


def test_its_classes_can_be_learned_but_not_from_brightness_alone(tmp_path: Path) -> None:
    found = carve(open_dataset(synthetic(tmp_path / "set", per_class=80, size=32)), {"test": 0.25}, seed=0)
    parts = {}
    for name in ("train", "test"):
        x = found.split(name).images(InputSpec(32))[..., 0] / 255.0
        centered = np.abs(np.fft.fft2(x))[:, :8, :8].reshape(len(x), -1)  # where the shape lies does not matter
        parts[name] = centered, x.mean(axis=(1, 2))[:, None], found.split(name).labels

    def accuracy(feature: int) -> float:
        model = LogisticRegression(max_iter=5000).fit(parts["train"][feature], parts["train"][2])
        return float(model.score(parts["test"][feature], parts["test"][2]))

    assert accuracy(0) > 0.7
    assert accuracy(1) < 0.6


def test_balanced_weights_equal_scikit_learn() -> None:
    labels = np.repeat([0, 1, 2], [50, 7, 3])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights(labels, "balanced"), expected)
    np.testing.assert_array_equal(class_weights(labels, "none"), 1)


def test_effective_weights_are_those_of_the_paper_and_milder() -> None:
    labels = np.repeat([0, 1], [5000, 50])
    found = class_weights(labels, "effective")
    raw = np.array([(1 - 0.999) / (1 - 0.999**n) for n in (5000, 50)])
    np.testing.assert_allclose(found, raw / raw.sum() * 2)
    balanced = class_weights(labels, "balanced")
    assert 1 < found[1] / found[0] < balanced[1] / balanced[0]


def test_a_class_without_images_and_an_unknown_mode_are_refused() -> None:
    with pytest.raises(DataError, match="class number 1"):
        class_weights(np.array([0, 2]), "balanced")
    with pytest.raises(DataError, match="class number 2"):
        class_weights(np.array([0, 1]), "none", classes=3)
    with pytest.raises(DataError, match="one of none, balanced, effective"):
        class_weights(np.array([0]), "heavy")
