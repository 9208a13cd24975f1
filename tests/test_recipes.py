"""Every shipped recipe: it parses, it names what exists, and its teacher and its student take one training step."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kdlight import runs
from kdlight.contracts.modality import MODALITIES
from kdlight.contracts.origin import Origin
from kdlight.contracts.recipe import Recipe, read_recipe, shipped
from kdlight.data import Dataset
from kdlight.distillers import Batch, Distiller, create_distiller, find, hyperparameters
from kdlight.models import MODELS, create_model
from kdlight.preprocessing import InputSpec
from kdlight.preprocessing.augment import AUGMENTATIONS, augmentation
from kdlight.training import Arrays, RunData
from kdlight.training.card import eligibility
from kdlight.training.phases import Phases

SIDE, IMAGES = 64, 12
GIANTS = ("vgg19", "fusion_skin", "timm:convnextv2_large")
"""Teachers too large for a whole run in a test: they take their step by hand, on a few images."""
STAGED = ("efcm", "fitnet")
"""Methods of two phases."""
RECIPES = shipped()
TINY = (
    f"data.size={SIDE}",
    *("teacher.epochs=1", f"teacher.batch_size={IMAGES}", "teacher.precision='32-true'", "teacher.weights=''"),
    *("train.epochs=1", f"train.batch_size={IMAGES}", "train.precision='32-true'", "train.scratch=false"),
)


@pytest.fixture(params=RECIPES, ids=list(RECIPES))
def recipe(request: pytest.FixtureRequest) -> Recipe:
    """The recipe, made small: one epoch of one batch, or one for each stage of the method."""
    small = read_recipe(RECIPES[request.param], TINY)
    return read_recipe(RECIPES[request.param], (*TINY, "train.epochs=2")) if small.distill.method in STAGED else small


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_names_what_exists_and_says_what_it_trains(name: str) -> None:
    path = RECIPES[name]
    recipe = read_recipe(path)
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert recipe.data.modality in MODALITIES
    assert (recipe.data.augmentation or recipe.data.modality) in AUGMENTATIONS
    assert set(recipe.distill.options) <= set(hyperparameters(find(recipe.distill.method)))
    for model in (recipe.teacher.name, recipe.student.name):
        assert model in MODELS or known_elsewhere(model), model
    assert read_recipe_again(recipe) == recipe


@pytest.mark.parametrize(
    ("name", "parts", "views"),
    [
        ("kdlight-brain_mri", ("head",), ()),
        ("kdlight-cxr3", ("chest",), ("AP", "PA")),
        ("kdlight-covid_ct", ("chest",), ()),
        ("kdlight-busi3", ("breast",), ()),
        ("kdlight-ham7", (), ()),
        ("kdlight-lc_lung3", (), ()),
        ("kdlight-brick_crack", (), ()),
    ],
)
def test_a_set_s_body_parts_reach_the_card(name: str, parts: tuple[str, ...], views: tuple[str, ...]) -> None:
    data = read_recipe(RECIPES[name]).data
    assert (data.body_parts, data.views) == (parts, views)
    covered = eligibility(data)
    assert (covered.body_parts, covered.views) == (parts, views)
    assert covered.modalities == (data.modality,)


def read_recipe_again(recipe: Recipe) -> Recipe:
    import tomllib

    return Recipe(**tomllib.loads(recipe.to_toml()))


def known_elsewhere(name: str) -> bool:
    """timm:<name>, or an ensemble of models that are known."""
    import timm

    if name.startswith("ensemble:"):
        return all(m in MODELS or known_elsewhere(m) for m in name.removeprefix("ensemble:").split("+"))
    return name.startswith("timm:") and bool(timm.is_model(name.removeprefix("timm:").partition(".")[0]))


@pytest.mark.slow
def test_teacher_and_student_take_one_step(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kdlight.training.phases.start_from", lambda *_: Origin(kind="random", words="random weights"))
    if recipe.teacher.name.startswith(GIANTS):
        by_hand(recipe)
    else:
        in_a_run(recipe, tmp_path / "run")


def in_a_run(recipe: Recipe, folder: Path) -> None:
    """The phases of a run on one batch: both log one finite epoch, and both leave weights that moved."""
    data = drawn(recipe, IMAGES)
    augment = augmentation(recipe.data.augmentation or recipe.data.modality, SIDE)
    phases = Phases(recipe, runs.create(recipe, path=folder), data, weights(recipe), augment)
    teacher = list(phases.teacher())
    first = phases.new_student("student").state_dict()
    student = list(phases.student("student"))
    for phase, log, epochs in (("teacher", teacher, 1), ("student", student, recipe.train.epochs)):
        assert [(r.phase, r.epoch) for r in log] == [(phase, epoch) for epoch in range(1, epochs + 1)]
        assert np.isfinite([getattr(log[0], k) for k in ("loss", "task", "distill", "val_loss")]).all()
    assert share_moved(load_file(folder / "start.safetensors"), load_file(folder / "teacher.safetensors")) > 0.9
    assert share_moved(first, load_file(folder / "student.safetensors")) > 0.9


def by_hand(recipe: Recipe) -> None:
    """The same losses on a few images with plain gradient descent: no copies of a network of gigabytes."""
    data = drawn(recipe, 4)
    train = data.splits["train"]
    batch = Batch(data.spec.normalise(train.pixels), train.labels, 0.0, torch.arange(len(train)))
    teacher = create_model(recipe.teacher.name, classes(recipe))
    step(create_distiller("alone", teacher, None, weights(recipe), focal=recipe.teacher.focal), batch)
    student = create_model(recipe.student.name, classes(recipe))
    method = recipe.distill
    step(create_distiller(method.method, student, teacher, weights(recipe), **method.options), batch)


def step(distiller: Distiller, batch: Batch) -> None:
    trained = {n: p for n, p in distiller.student.named_parameters() if p.requires_grad}
    losses = distiller.train()(batch)
    losses["total"].backward()
    assert np.isfinite([losses[k].item() for k in ("total", "task", "distill")]).all()
    moving = [n for n, p in trained.items() if p.grad is not None and bool(p.grad.any())]
    assert len(moving) > 0.9 * len(trained), sorted(set(trained) - set(moving))
    steepest = max((trained[n] for n in moving), key=lambda p: float(p.grad.abs().max()))  # type: ignore[union-attr]
    before = steepest.detach().clone()
    torch.optim.SGD(trained.values(), 1e-4).step()  # small: a network of random weights must stay finite
    assert not torch.equal(before, steepest)
    nn.Module.zero_grad(distiller, set_to_none=True)


def share_moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> float:
    """Of the weights and biases (not the statistics of batch norm), how many tensors changed."""
    names = [n for n, t in before.items() if t.is_floating_point() and "running" not in n]
    return sum(not torch.equal(before[n], after[n]) for n in names) / len(names)


def classes(recipe: Recipe) -> int:
    return len(recipe.data.classes) or 3


def weights(recipe: Recipe) -> Tensor:
    return torch.ones(classes(recipe))


def drawn(recipe: Recipe, images: int) -> RunData:
    """Noise whose brightness tells its class; every other label is hidden where the recipe hides labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % classes(recipe)
    pixels = rng.integers(0, 64, (images, SIDE, SIDE, 3)) + (labels * 150 // classes(recipe))[:, None, None, None]
    whole = Arrays(torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels))
    hidden = torch.where(torch.arange(images) % 4 == 3, -1, whole.labels)
    train = Arrays(whole.pixels, hidden) if recipe.data.labeled < 1 else whole
    named = cast(Dataset, SimpleNamespace(classes=tuple(f"class {n}" for n in range(classes(recipe)))))
    return RunData(named, InputSpec(SIDE), {"train": train, "val": whole, "test": whole})
