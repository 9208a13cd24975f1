"""Several networks as one: the mean of their probabilities, also as a teacher."""

import numpy as np
import pytest
import torch
from torch import nn

from kdlight.distillers import Batch, create_distiller
from kdlight.models import Classifier, create_model
from kdlight.models.ensemble import Ensemble, members

NAME = "ensemble:kdlight_small+kdlight_nano"


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def awake(model: Classifier, x: torch.Tensor) -> Classifier:
    """An untrained network whose answers differ from image to image and class to class."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.1)
            nn.init.normal_(module.bias)
    with torch.no_grad():
        model.train()(x)
    return model.eval()


@pytest.fixture
def ensemble(x: torch.Tensor) -> Ensemble:
    torch.manual_seed(0)
    model = awake(create_model(NAME, 3), x)
    assert isinstance(model, Ensemble)
    return model


def mean_of(ensemble: Ensemble, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return np.mean([torch.softmax(member(x).double(), 1).numpy() for member in ensemble.members], axis=0)


def test_it_answers_with_the_mean_of_its_members_probabilities(ensemble: Ensemble, x: torch.Tensor) -> None:
    with torch.no_grad():
        found = torch.softmax(ensemble(x), 1).numpy()
    assert found == pytest.approx(mean_of(ensemble, x), abs=1e-6)
    assert np.abs(found - torch.softmax(ensemble.members[0](x).detach(), 1).numpy()).max() > 0.01


def test_kd_under_it_is_multi_teacher_distillation(ensemble: Ensemble, x: torch.Tensor) -> None:
    student = awake(create_model("kdlight_nano", 3), x)
    losses = create_distiller("kd", student, ensemble, alpha=1.0, temperature=1.0)(Batch(x, torch.tensor([0, 1, 2, 0])))
    p, q = torch.softmax(student(x).detach().double(), 1).numpy(), mean_of(ensemble, x)
    assert losses["distill"].item() == pytest.approx((q * np.log(q / p)).sum(1).mean(), rel=1e-4)


def test_features_and_heat_maps_are_the_first_members(ensemble: Ensemble, x: torch.Tensor) -> None:
    first = ensemble.members[0]
    assert ensemble.cam_layer is first.cam_layer
    with torch.no_grad():
        for own, other in zip(ensemble.forward_with_features(x)[1], first.forward_with_features(x)[1], strict=True):
            assert torch.equal(own, other)


def test_more_than_two_and_timm_names_are_understood() -> None:
    assert members("ensemble:mobilenetv2+timm:resnet18+kdlight_base") == [
        "mobilenetv2",
        "timm:resnet18",
        "kdlight_base",
    ]


@pytest.mark.parametrize("name", ["ensemble:mobilenetv2", "ensemble:a+", "ensemble:", "ensemble:a+ensemble:b"])
def test_a_name_that_is_no_ensemble_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="two models or more"):
        create_model(name, 3)


def test_an_unknown_member_is_named() -> None:
    with pytest.raises(ValueError, match="Unknown model 'nope'"):
        create_model("ensemble:mobilenetv2+nope", 3)
