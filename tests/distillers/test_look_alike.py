"""Grad-CAM of a linear head against its closed form, its distance by loops, and what a step of it does."""

import numpy as np
import pytest
import torch

from kdlight.distillers import Batch, View, create_distiller
from kdlight.distillers.feature import FeatureKD
from kdlight.distillers.look_alike import LookAlike, gradcam, map_distance
from kdlight.explain.classmap import cam
from kdlight.models import create_model
from tests.distillers.small import Small, pictures, small


def seen(model: Small, x: torch.Tensor) -> View:
    return View(*model.forward_with_features(x))


def method(**options: float) -> LookAlike:
    found = small("look_alike", **options)
    assert isinstance(found, LookAlike)
    return found


def test_after_pooling_and_one_linear_layer_it_is_the_class_map() -> None:
    """Selvaraju et al. 2017, section 3.1: the slope of z_c is w_c / (h w) at every place."""
    model, x, classes = Small(5), pictures(3), torch.tensor([2, 0, 1])
    maps = model.forward_with_features(x)[1][0].detach().double().numpy()
    weights = model.classifier.weight.detach().double().numpy()
    expected = [
        np.maximum(np.einsum("k,khw->hw", weights[c], a), 0) / a[0].size for c, a in zip(classes, maps, strict=True)
    ]
    np.testing.assert_allclose(gradcam(seen(model, x), classes).detach().numpy(), np.stack(expected), atol=1e-6)


def test_it_is_the_map_that_a_person_is_shown() -> None:
    torch.manual_seed(0)
    model, x = create_model("kdlight_nano", 3).eval(), torch.randn(1, 3, 64, 64)
    heat = gradcam(View(*model.forward_with_features(x)), torch.tensor([1]))[0].detach()
    shown = cam(model, x, 1, lambda *_: None).values.clamp(min=0)
    np.testing.assert_allclose(heat.numpy(), shown.numpy() / shown.numel(), atol=1e-6)
    assert heat.max() > 0


def test_its_distance_is_one_less_the_cosine() -> None:
    own, other = torch.rand(4, 3, 3), torch.rand(4, 3, 3)
    pairs = zip(own.double().numpy(), other.double().numpy(), strict=True)
    cosines = [(a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()) for a, b in pairs]
    assert map_distance(own, other).item() == pytest.approx(1 - np.mean(cosines), abs=1e-6)
    assert map_distance(own, 3 * own).item() == pytest.approx(0, abs=1e-6)
    assert map_distance(torch.zeros(4, 3, 3), other).item() == 1
    fine = own.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    assert map_distance(fine, other).item() == pytest.approx(map_distance(own, other).item(), abs=1e-6)


def test_without_its_weight_it_is_the_method_that_it_extends() -> None:
    batch = Batch(pictures(6), torch.arange(6) % 3)
    plain, without, with_it = small("feature"), method(delta=0.0), method(delta=2.0)
    assert isinstance(plain, FeatureKD)
    assert without(batch)["total"].item() == pytest.approx(plain(batch)["total"].item(), rel=1e-6)
    view = with_it.teacher_view(batch)
    own = gradcam(seen(with_it.student, batch.x), view.logits.argmax(1))  # type: ignore[arg-type]
    added = with_it(batch)["distill"] - plain(batch)["distill"]
    assert added.item() == pytest.approx(2 * map_distance(own, view.heat).item(), rel=1e-4)


def test_a_student_that_learns_the_map_alone_comes_to_look_where_the_teacher_looks() -> None:
    learner = method(delta=1.0, alpha=1.0, gamma=0.0)
    with torch.no_grad():
        learner.student.body[0].weight.mul_(0.5)  # type: ignore[union-attr,operator,index]
    batch = Batch(pictures(12), torch.arange(12) % 3)
    target = learner.teacher_view(batch)

    def apart() -> float:
        heat = gradcam(seen(learner.student, batch.x), target.logits.argmax(1))  # type: ignore[arg-type]
        return map_distance(heat, target.heat).item()

    before, optimizer = apart(), torch.optim.Adam(learner.student.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        learner(batch)["total"].backward()
        optimizer.step()
    assert apart() < 0.6 * before


def test_a_network_whose_answer_does_not_follow_from_its_maps_is_refused() -> None:
    x = torch.randn(2, 4, requires_grad=True)
    with pytest.raises(ValueError, match="does not follow from its last maps"):
        gradcam(View(x * 2, [torch.randn(2, 3, 4, 4, requires_grad=True)]), torch.tensor([0, 1]))


def test_it_takes_any_pair() -> None:
    pair = (create_model("kdlight_nano16", 3), create_model("mobilenetv2", 3))
    losses = create_distiller("look_alike", *pair)(Batch(torch.randn(2, 3, 64, 64), torch.tensor([0, 1])))
    assert torch.isfinite(losses["total"])
