"""Both models' maps against outlines beside the images, on a set that is drawn here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kdlight.bundle import Bundle
from kdlight.data import Dataset, open_dataset
from kdlight.inference import Predictor
from kdlight.inference.localization import localize


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Bundle) -> Predictor:
    return Predictor(tiny_bundle, threads=1)


@pytest.fixture
def outlined(tiny_bundle: Bundle, tmp_path: Path) -> Dataset:
    """Three images of one class, 80 x 96; the upper half of the first two is outlined, the third has a black mask."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "set" / tiny_bundle.classes[0]
    folder.mkdir(parents=True)
    for number in range(3):
        PIL.Image.fromarray(rng.integers(0, 256, (80, 96), dtype=np.uint8)).save(folder / f"scan{number}.png")
        inside = np.zeros((80, 96), dtype=np.uint8)
        inside[: 40 if number < 2 else 0] = 255
        PIL.Image.fromarray(inside).save(folder / f"scan{number}_mask.png")
    return open_dataset(tmp_path / "set", tiny_bundle.classes)


def test_figures_are_over_the_outlined_images_that_a_model_answers_rightly(
    predictor: Predictor, outlined: Dataset
) -> None:
    steps: list[tuple[int, int]] = []
    predicted = {"teacher": [0, 1, 0], "student": [0, 0, 0]}
    found = localize(predictor, outlined, predicted, progress=lambda done, total: steps.append((done, total)))  # type: ignore[arg-type]
    assert found is not None
    assert (found.images, found.area) == (2, 0.5)
    assert [found.teacher.n, found.student.n] == [1, 2]
    assert steps[-1] == (3, 3)
    heat = predictor.heat_maps(outlined.source.image(outlined.items[0].ref), confirmed=True)["teacher"].values
    assert found.teacher.share.value == pytest.approx(heat[:40].sum() / heat.sum(), rel=1e-5)
    assert found.teacher.lift.value == pytest.approx(2 * heat[:40].sum() / heat.sum(), rel=1e-5)
    assert found.student.all.n == 2


def test_a_model_that_is_never_right_has_figures_over_all(predictor: Predictor, outlined: Dataset) -> None:
    found = localize(predictor, outlined, {"teacher": [1, 1, 1], "student": [1, 1, 1]})
    assert found is not None
    assert "lift" not in found.to_json()["teacher"]
    assert found.teacher.all.lift.value > 0


def test_without_an_outline_there_is_nothing_to_say(predictor: Predictor, outlined: Dataset) -> None:
    bare = replace(outlined, masks={})
    assert localize(predictor, bare, {"teacher": [0] * 3, "student": [0] * 3}) is None
