"""Methods that read features, between networks that share neither stages, channels nor sizes."""

import pytest
import torch

from kdlight.distillers import Batch, Distiller, View, create_distiller
from kdlight.models import create_model
from tests.distillers.small import Small

SIDE = 64


def unlike(name: str) -> Distiller:
    """A student of eight maps at 32 to 2 px, a teacher of one map at 15 px."""
    torch.manual_seed(0)
    return create_distiller(name, create_model("kdlight_small", 3), Small(7))


def batch() -> Batch:
    x = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return Batch(x, torch.tensor([0, 1, 2, 0]), index=torch.arange(4))


@pytest.mark.parametrize("name", ["rkd", "crd", "attention", "fitnet"])
def test_the_student_is_reached_from_its_first_to_its_last_convolution(name: str) -> None:
    method = unlike(name).train()
    method(batch())["distill"].backward()
    for layer in ("stem.0.weight", "head.0.weight"):
        gradient = method.student.get_parameter(layer).grad
        assert gradient is not None
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("name", ["rkd", "crd"])
def test_pooled_features_kept_from_before_say_the_same_as_maps(name: str) -> None:
    first, second = unlike(name).eval(), unlike(name).eval()
    seen = batch()
    own = View(*first.student.forward_with_features(seen.x))
    other = first.teacher_view(seen)
    kept = View(other.logits, [other.features[-1].mean((2, 3), keepdim=True)])
    whole, pooled = first.distill(own, other, seen), second.distill(own, kept, seen)
    torch.testing.assert_close(pooled, whole)
    assert whole.item() > 0
