"""The two stages of FitNets: a hint by hand, then KD and nothing else."""

import pytest
import torch

from kdlight.distillers import Batch, View, create_distiller
from kdlight.distillers.base import softened_kl
from kdlight.distillers.fitnet import FitNet
from kdlight.models import create_model
from tests.distillers.small import pictures, small


def test_the_hint_is_the_distance_of_the_regressed_map_averaged_to_its_size() -> None:
    method = small("fitnet", gamma=3.0)
    assert isinstance(method, FitNet)
    own, other, logits = torch.randn(2, 5, 4, 4), torch.randn(2, 7, 2, 2), torch.randn(2, 3)
    weight, bias = method.regressor.weight[:, :, 0, 0], method.regressor.bias
    assert bias is not None
    gap = 0.0
    for b, i, j in torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(2)).tolist():
        block = own[b, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2))
        gap += (weight @ block + bias - other[b, :, i, j]).square().sum().item()
    found = method.distill(View(logits, [own]), View(logits, [other]), Batch(own, torch.zeros(2).long()))
    assert found.item() == pytest.approx(3 * 0.5 * gap / other.numel(), rel=1e-5)


def test_labels_and_answers_wait_for_the_second_stage() -> None:
    method = small("fitnet", stage=0.5, alpha=0.6, temperature=2.0)
    x, y = pictures(4), torch.tensor([0, 1, 2, 0])
    first, second = (method(Batch(x, y, progress)) for progress in (0.4, 0.5))
    assert method.best_epoch_from == 0.5
    assert first["task"].item() == 0
    own, other = method.student(x), method.teacher_model(x)
    assert second["distill"].item() == pytest.approx(0.6 * softened_kl(own, other, 2.0).item(), rel=1e-5)
    task = torch.nn.functional.cross_entropy(own, y).item()
    assert second["total"].item() == pytest.approx(0.4 * task + second["distill"].item(), rel=1e-5)


def test_the_hint_reaches_only_the_lower_half() -> None:
    method = create_distiller("fitnet", create_model("kdlight_small", 3), create_model("mobilenetv2", 3))
    assert isinstance(method, FitNet)
    assert (method.guided, method.hint) == (2, 2)
    method(Batch(torch.randn(2, 3, 32, 32), torch.tensor([0, 1])))["total"].backward()
    gradients = {name: p.grad is not None for name, p in method.student.named_parameters()}  # Adam counts those of 0
    moved = {name.split(".")[1] for name, found in gradients.items() if found and name.startswith("stages")}
    assert moved == {"0", "1", "2"}
    assert not gradients["head.0.weight"]
    assert not gradients["classifier.weight"]
