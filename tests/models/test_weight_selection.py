"""Selecting weights must keep what the larger network computes wherever the smaller one can hold it."""

import pytest
import torch

from kdlight.models import create_model
from kdlight.models.mobilenet import MobileNet, Shape, Stage
from kdlight.models.weight_selection import positions, reestimate_batch_norm, select, select_weights


def test_positions_follow_the_paper() -> None:
    assert positions(8, 4).tolist() == [0, 2, 4, 6]
    assert positions(8, 4, offset=1).tolist() == [1, 3, 5, 7]
    assert positions(10, 4).tolist() == [0, 3, 6, 9]
    with pytest.raises(ValueError, match="larger"):
        positions(4, 8)


def test_select_takes_the_same_positions_in_every_dimension() -> None:
    large = torch.arange(16.0).view(4, 4)
    assert select(large, torch.Size([2, 2])).tolist() == [[0, 2], [8, 10]]


def small(width: int, num_classes: int = 3) -> MobileNet:
    stages = (Stage(1, width, 1, 1), Stage(6, width * 2, 2, 2))
    return MobileNet(Shape(width * 2, stages, width * 8), num_classes).eval()


def test_a_network_whose_dropped_channels_are_silent_is_inherited_whole() -> None:
    """If every channel that is dropped carries zero, the selected network gives the same features."""
    torch.manual_seed(0)
    large, target = small(8), small(4)
    with torch.no_grad():
        for name, tensor in large.state_dict().items():
            if tensor.dim() == 0 or name.startswith("classifier"):
                continue
            silent = torch.arange(tensor.shape[0]) % 2 == 1
            if name.endswith(("weight", "bias", "running_mean")):
                tensor[silent] = 0
    select_weights(large, target)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        kept = large.forward_with_features(x)[1][-1][:, ::2]
        own = target.forward_with_features(x)[1][-1]
    assert kept.abs().max() > 0
    torch.testing.assert_close(own, kept, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["kdlight_nano", "kdlight_small", "kdlight_base"])
def test_every_student_inherits_every_tensor_but_the_classifier(name: str) -> None:
    student = create_model(name, 3)
    filled = select_weights(create_model("mobilenetv2", 3), student)
    left = {k for k in student.state_dict() if not k.endswith("num_batches_tracked")} - set(filled)
    assert left == {"classifier.weight", "classifier.bias"}


def test_strangers_are_refused() -> None:
    with pytest.raises(ValueError, match="one family"):
        select_weights(torch.nn.Linear(4, 4), create_model("kdlight_nano", 2))


def test_batch_norm_is_reestimated_to_the_data() -> None:
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3)).eval()
    x = torch.randn(64, 3, 8, 8) * 5 + 2
    reestimate_batch_norm(model, list(torch.split(x, 16)))
    torch.testing.assert_close(model[0].running_mean, x.mean(dim=(0, 2, 3)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model[0].running_var, x.var(dim=(0, 2, 3)), atol=0.2, rtol=0.02)
    assert model[0].momentum == 0.1
    assert not model.training
