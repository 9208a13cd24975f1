"""Planted drift in images is seen through the student's features, and images of the same kind raise no alarm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from kdlight.bundle import Bundle
from kdlight.inference.engines import OnnxEngine
from kdlight.inference.learn import summary
from kdlight.metrics.drift import Drift, class_mix, drift
from kdlight.reports.drift import sentences
from kdlight.trust.belonging import Judge
from kdlight.trust.drift import REFERENCE, one_of_each
from tests.inference.test_learn import drawn, knowing  # noqa: F401  a fixture

RNG = np.random.default_rng(7)
Plant = Callable[[np.ndarray], np.ndarray]
PLANTS: dict[str, Plant] = {
    "blur": lambda p: gaussian_filter(p.astype(np.float32), (0, 1.0, 1.0, 0)),
    "gamma": lambda p: 255 * (p / 255.0) ** 1.15,
    "another scanner's noise": lambda p: p + RNG.normal(0, 3, (*p.shape[:3], 1)),
    "another window": lambda p: p * 0.93 + 5,
}


def compared(bundle: Bundle, pixels: np.ndarray, groups: np.ndarray | None = None) -> Drift:
    judge = Judge.of(bundle)
    assert judge is not None
    engine = OnnxEngine.of(bundle, 1, stages=True)
    found = summary(judge.looks, engine, bundle.spec, np.clip(np.rint(pixels), 0, 255).astype(np.uint8), groups)
    return drift(judge.looks[REFERENCE].astype(np.float64), found)


def test_images_of_the_same_kind_raise_no_alarm(knowing: Bundle) -> None:  # noqa: F811
    found = [compared(knowing, drawn(40, seed)) for seed in range(20, 32)]
    assert sum(bool(one.seen) for one in found) <= 2
    assert knowing.card.belonging is not None
    assert knowing.card.belonging.drift is not None
    assert (knowing.card.belonging.drift.n, knowing.card.belonging.drift.reference) == (60, 60)


@pytest.mark.parametrize("what", PLANTS)
def test_planted_drift_is_seen(knowing: Bundle, what: str) -> None:  # noqa: F811
    found = compared(knowing, PLANTS[what](drawn(40, 20)))
    assert found.seen
    said = " ".join(sentences(found))
    assert said.startswith("These images differ from the training images in ")
    assert "n = 40, against 60 held-out images" in said


def test_another_mix_of_kinds_is_seen_and_said(knowing: Bundle) -> None:  # noqa: F811
    half = drawn(40, 20)
    half[20:] = half[20:, :, :, :] // 2
    mix = class_mix({"a": 80, "b": 80}, {"a": 38, "b": 2}, ["a", "b"])
    found = compared(knowing, half).model_copy(update={"mix": mix})
    said = " ".join(sentences(found))
    assert found.seen
    assert "45 % of the images would have to change class. That alone can make images differ." in said


def test_images_of_one_patient_count_once(knowing: Bundle) -> None:  # noqa: F811
    groups = np.array(["b", "a", "b", "c"])
    assert one_of_each(groups).tolist() == [0, 1, 3]
    found = compared(knowing, drawn(40, 20), np.repeat(np.arange(8), 5).astype(str))
    assert (found.n, found.few) == (8, True)
    assert next(sentences(found)).startswith("Too few images to say")
