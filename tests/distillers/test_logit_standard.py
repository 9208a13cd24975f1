"""Standardized logits: what they keep, what they do not see."""

import numpy as np
import pytest
import torch

from kdlight.distillers import Batch, View
from kdlight.distillers.logit_standard import standardized
from tests.distillers.small import small


def loss(own: torch.Tensor, other: torch.Tensor) -> float:
    method = small("logit_standard", classes=own.shape[1], weight=3.0, temperature=2.0)
    return method.distill(View(own, []), View(other, []), Batch(own, torch.zeros(len(own)).long())).item()


def test_it_is_the_divergence_of_z_scores() -> None:
    own, other = torch.randn(5, 4), torch.randn(5, 4) * 5

    def softened(logits: torch.Tensor) -> np.ndarray:
        z = logits.double().numpy()
        z = (z - z.mean(1, keepdims=True)) / z.std(1, ddof=1, keepdims=True) / 2
        return np.exp(z) / np.exp(z).sum(1, keepdims=True)

    p, q = softened(own), softened(other)
    assert loss(own, other) == pytest.approx(3 * 4 * np.mean((q * np.log(q / p)).sum(1)), rel=1e-4)


def test_range_and_level_of_either_side_do_not_matter() -> None:
    own, other = torch.randn(5, 4), torch.randn(5, 4)
    moved = loss(7 * own + torch.randn(5, 1), 0.2 * other - 3)
    assert moved == pytest.approx(loss(own, other), rel=1e-3)
    assert loss(own, 5 * own + 2) == pytest.approx(0, abs=1e-5)


def test_a_sure_answer_of_k_classes_reaches_k_less_one_over_the_root_of_k() -> None:
    assert standardized(100 * torch.eye(5)).max().item() == pytest.approx(4 / 5**0.5)
    assert standardized(torch.ones(2, 3)).abs().max().item() == 0


def test_its_slope_is_that_of_the_formula() -> None:
    own, other = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)

    def formula(logits: torch.Tensor) -> torch.Tensor:
        p, q = (torch.softmax((z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True) / 2, 1) for z in (logits, other))
        return 3 * 4 * (q * (q / p).log()).sum(1).mean()

    rows, again = own.clone().requires_grad_(), own.float().requires_grad_()
    formula(rows).backward()
    method = small("logit_standard", classes=4, weight=3.0, temperature=2.0)
    method.distill(View(again, []), View(other.float(), []), Batch(again, torch.zeros(3).long())).backward()
    assert rows.grad is not None
    assert again.grad is not None
    torch.testing.assert_close(again.grad.double(), rows.grad, rtol=1e-4, atol=1e-5)


def test_two_classes_are_refused_since_they_always_lie_alike() -> None:
    torch.testing.assert_close(standardized(torch.randn(6, 2)).abs(), torch.full((6, 2), 0.5**0.5))
    with pytest.raises(ValueError, match="logit_standard supports multi-class tasks, not binary"):
        small("logit_standard", classes=2)
