"""Each method against an independent computation of its paper's equation."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdlight.distillers import Batch, Distiller, View, create_distiller, hyperparameters
from kdlight.distillers.base import FocalLoss, widths
from kdlight.distillers.dkd import nckd, tckd
from kdlight.distillers.feature import standardized
from kdlight.models import create_model

T = 3.0


@pytest.fixture
def logits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(6, 4, generator=generator) * 3,
        torch.randn(6, 4, generator=generator) * 3,
        torch.tensor([0, 1, 2, 3, 0, 1]),
    )


def build(method: str, classes: int = 4, **options: Any) -> Distiller:
    torch.manual_seed(0)
    student, teacher = create_model("kdlight_nano", classes), create_model("mobilenetv2", classes)
    return create_distiller(method, student, teacher, **options)


def test_kd_is_the_divergence_of_softened_probabilities(logits: tuple[torch.Tensor, ...]) -> None:
    own, other, y = logits
    p, q = torch.softmax(own / T, 1).double(), torch.softmax(other / T, 1).double()
    expected = 0.6 * T**2 * (q * (q / p).log()).sum(1).mean()
    found = build("kd", alpha=0.6, temperature=T).distill(View(own, []), View(other, []), Batch(own, y))
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_dkd_splits_kd_as_its_paper_says(logits: tuple[torch.Tensor, ...]) -> None:
    """KL = TCKD + (1 - p_t) NCKD, per image."""
    own, other, y = logits
    for i in range(len(y)):
        one = (own[i : i + 1], other[i : i + 1], y[i : i + 1], T)
        p, q = torch.softmax(own[i] / T, 0), torch.softmax(other[i] / T, 0)
        kl = T**2 * (q * (q / p).log()).sum()
        split = tckd(*one) + (1 - q[y[i]]) * nckd(*one)
        assert float(split) == pytest.approx(float(kl), rel=1e-4, abs=1e-6)


def test_dkd_refuses_two_classes() -> None:
    with pytest.raises(ValueError, match="dkd supports multi-class tasks, not binary"):
        build("dkd", classes=2)


def test_feature_adds_the_distance_of_projected_features(logits: tuple[torch.Tensor, ...]) -> None:
    own, other, y = logits
    method = build("feature", alpha=0.0, temperature=T, gamma=2.0)
    mine, theirs = torch.randn(6, 320, 2, 2), torch.randn(6, 1280, 2, 2)
    found = method.distill(View(own, [mine]), View(other, [theirs]), Batch(own, y))
    assert isinstance(method.projection, nn.Linear)
    projected = mine.mean((2, 3)) @ method.projection.weight.T + method.projection.bias
    target = standardized(theirs.mean((2, 3)))
    gap = (projected - target).abs()
    expected = 2.0 * torch.where(gap < 1, 0.5 * gap**2, gap - 0.5).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_total_is_the_weighed_sum() -> None:
    method = build("kd", alpha=0.7, temperature=T).eval()
    batch = Batch(torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 3]))
    with torch.no_grad():
        losses, logits = method(batch), method.student(batch.x)
    assert float(losses["task"]) == pytest.approx(float(F.cross_entropy(logits, batch.y)), rel=1e-5)
    assert float(losses["total"]) == pytest.approx(float(0.3 * losses["task"] + losses["distill"]), rel=1e-6)


@pytest.mark.parametrize("method", ["kd", "dkd", "feature"])
def test_the_teacher_is_frozen_and_stays_out_of_the_optimizer_and_the_checkpoint(method: str) -> None:
    distiller = build(method)
    teacher = distiller.teacher
    assert teacher is not None
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    distiller.train()
    distiller(Batch(torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 3])))["total"].backward()
    assert not teacher.training
    assert all(p.grad is None for p in teacher.parameters())
    assert {id(p) for p in distiller.parameters()}.isdisjoint({id(p) for p in teacher.parameters()})
    assert not any(k.startswith(("teacher", "_frozen")) for k in distiller.state_dict())
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())


def test_alone_learns_from_labels_only() -> None:
    method = build("alone").eval()
    with torch.no_grad():
        losses = method(Batch(torch.randn(2, 3, 64, 64), torch.tensor([0, 1])))
    assert float(losses["distill"]) == 0.0
    assert float(losses["total"]) == float(losses["task"])


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("nope", {}, "one of alone, kd"),
        ("kd", {"beta": 1.0}, r"distill\.beta is not known; one of alpha, temperature was expected"),
        ("kd", {"alpha": 1.5}, r"distill\.alpha is 1\.5; a number from 0 to 1 was expected"),
        ("alone", {"alpha": 0.5}, "no option at all"),
        ("feature", {"gamma": -1.0}, "gamma"),
    ],
)
def test_mistakes_are_named(method: str, options: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build(method, **options)


def test_hyperparameters_are_those_that_are_declared() -> None:
    assert hyperparameters(type(build("kd"))) == {"alpha": 0.7, "temperature": 4.0}


def test_focal_loss_is_cross_entropy_at_zero_and_weighs_what_is_hard(logits: tuple[torch.Tensor, ...]) -> None:
    own, _, y = logits
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0])
    torch.testing.assert_close(FocalLoss(0.0, weight)(own, y), F.cross_entropy(own, y, weight=weight))
    soft = torch.softmax(own.flip(0), 1)
    torch.testing.assert_close(FocalLoss(0.0, weight)(own, soft), F.cross_entropy(own, soft, weight=weight))
    p = torch.softmax(own, 1)[torch.arange(6), y]
    expected = (weight[y] * (1 - p) ** 2 * -p.log()).sum() / weight[y].sum()
    torch.testing.assert_close(FocalLoss(2.0, weight)(own, y), expected)


@pytest.mark.parametrize("value", ["abc", True, None])
def test_an_option_of_another_type_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^distill\.temperature is .*; a number above 0 was expected"):
        build("kd", temperature=value)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_loss_has_a_slope_where_the_answer_is_certain(gamma: float) -> None:
    sure = torch.tensor([[30.0, 0.0, 0.0]], requires_grad=True)
    FocalLoss(gamma)(sure, torch.tensor([0])).backward()
    assert sure.grad is not None
    assert sure.grad.isfinite().all()


def test_images_without_a_label_have_no_part_in_the_task(logits: tuple[torch.Tensor, ...]) -> None:
    own, _, y = logits
    method, hidden = build("kd"), y.clone()
    hidden[3:] = -1
    assert method.task(own, Batch(own, hidden)).item() == pytest.approx(F.cross_entropy(own[:3], y[:3]).item())
    assert method.task(own, Batch(own, torch.full_like(y, -1))).item() == 0


def test_a_network_of_one_size_is_tried_at_that_size() -> None:
    model = create_model("timm:mixer_s32_224", 3).train()
    with pytest.raises(ValueError, match="224"):
        model(torch.zeros(1, 3, 64, 64))
    assert widths(model) == [512]
    assert model.training
