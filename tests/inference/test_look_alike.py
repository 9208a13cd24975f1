"""Where two models look over a set: a network looks as itself, and each figure is that of the maps it comes from."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from kdlight.data import Dataset, Item
from kdlight.explain import explain
from kdlight.explain.likeness import on_grid
from kdlight.inference import golden
from kdlight.inference.look_alike import looks
from kdlight.metrics import softmax
from kdlight.models import Classifier
from kdlight.preprocessing import InputSpec
from tests.tiny import SIZE, untrained

SPEC, COUNT = InputSpec(SIZE), 6
PIXELS = np.stack([golden.draw(i, SIZE, color=False) for i in range(COUNT)])
ITEMS = tuple(Item(ref=f"{i}.png", label=i % 3, split="test", group=str(i)) for i in range(COUNT))
PART = Dataset(classes=("a", "b", "c"), items=ITEMS, source=None)  # type: ignore[arg-type]


def answers(model: Classifier) -> np.ndarray:
    with torch.no_grad():
        return softmax(model(SPEC.normalise(torch.from_numpy(PIXELS))).numpy(), 1.0)


def test_a_student_that_is_its_teacher_looks_where_it_looks() -> None:
    model = untrained("kdlight_nano", 0)
    p, seen = answers(model), []
    same = {"teacher": model, "student": model}
    found = looks(same, SPEC, PIXELS, dict.fromkeys(same, p), PART, seen=lambda i, _maps: seen.append(i))  # type: ignore[arg-type]
    assert seen == list(range(COUNT))
    assert found.cases is not None
    assert [case.probability_gap for case in found.cases] == [0] * COUNT
    assert found.n > 0
    assert found.rank_correlation is not None
    assert found.overlap is not None
    assert (found.rank_correlation.value, found.overlap.value) == pytest.approx((1, 1))


def test_the_figures_of_an_image_are_those_of_both_models_maps_of_their_own_answers() -> None:
    models = {"teacher": untrained("mobilenetv2", 0), "student": untrained("kdlight_nano", 1)}
    p = {role: answers(model) for role, model in models.items()}
    found = looks(models, SPEC, PIXELS, p, PART)  # type: ignore[arg-type]
    assert found.cases is not None
    assert found.n + found.flat == COUNT
    for i, case in enumerate(found.cases):
        x = SPEC.normalise(torch.from_numpy(PIXELS[i : i + 1]))
        maps = [on_grid(explain(models[role], x, int(p[role][i].argmax()))) for role in ("teacher", "student")]
        assert (case.path, case.truth) == (f"{i}.png", "abc"[i % 3])
        assert case.teacher == "abc"[p["teacher"][i].argmax()]
        assert case.probability_gap == pytest.approx(np.abs(p["teacher"][i] - p["student"][i]).sum() / 2)
        if case.rank_correlation is not None:
            assert case.rank_correlation == pytest.approx(scipy.stats.spearmanr(*(m.ravel() for m in maps))[0])
