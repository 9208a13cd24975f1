"""The AUC margin loss against closed forms and a loop over pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdlight.distillers import Batch, View
from kdlight.distillers.auc_margin import AUCMargin, auc_margin, margin_gap, weights
from tests.distillers.small import pictures, small


@pytest.fixture
def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.random(40)), torch.from_numpy((rng.random(40) < 0.3).astype(float))


def value(scores: torch.Tensor, y: torch.Tensor, a: float, b: float, dual: float, margin: float = 1.0) -> float:
    return float(auc_margin(scores, y, 1 - y, *(torch.tensor(v) for v in (a, b, dual)), margin))


def test_it_is_its_equation(drawn: tuple[torch.Tensor, torch.Tensor]) -> None:
    h, y = (v.numpy() for v in drawn)
    plus, minus = h[y == 1], h[y == 0]
    spread = ((plus - 0.7) ** 2).mean() + ((minus - 0.2) ** 2).mean()
    expected = spread + 2 * 0.3 * (0.9 + minus.mean() - plus.mean()) - 0.3**2
    assert value(*drawn, 0.7, 0.2, 0.3, 0.9) == pytest.approx(expected, rel=1e-6)


def test_at_its_saddle_point_it_is_the_squared_loss_of_all_pairs(drawn: tuple[torch.Tensor, torch.Tensor]) -> None:
    """min over a, b and max over alpha = Var+ + Var- + (m - d)^2 = mean over pairs of (m - (h_i - h_j))^2."""
    h, y = (v.numpy() for v in drawn)
    plus, minus = h[y == 1], h[y == 0]
    a, b, dual = plus.mean(), minus.mean(), 1 - (plus.mean() - minus.mean())
    pairs = [(1 - (i - j)) ** 2 for i in plus for j in minus]
    found = value(*drawn, a, b, dual)
    assert found == pytest.approx(plus.var() + minus.var() + dual**2, rel=1e-6)
    assert found == pytest.approx(float(np.mean(pairs)), rel=1e-6)
    assert all(value(*drawn, a + s, b, dual) > found and value(*drawn, a, b + s, dual) > found for s in (-0.1, 0.1))
    assert all(value(*drawn, a, b, dual + s) < found for s in (-0.1, 0.1))


def test_past_the_margin_the_dual_is_zero_and_only_the_spread_is_left() -> None:
    h, y = torch.tensor([0.9, 0.8, 0.1, 0.0]), torch.tensor([1.0, 1, 0, 0])
    gap = float(margin_gap(h, y, 1 - y, 0.5))
    assert gap == pytest.approx(-0.3)
    assert value(h, y, 0.85, 0.05, 0.0, 0.5) == pytest.approx(2 * 0.0025)
    assert value(h, y, 0.85, 0.05, 0.1, 0.5) < value(h, y, 0.85, 0.05, 0.0, 0.5)


def test_which_class_is_positive_does_not_matter(drawn: tuple[torch.Tensor, torch.Tensor]) -> None:
    h, y = drawn
    assert value(h, y, 0.7, 0.2, 0.3) == pytest.approx(value(1 - h, 1 - y, 0.8, 0.3, 0.3), rel=1e-6)


def test_the_dual_climbs_to_its_closed_form_and_never_below_zero() -> None:
    method = small("auc_margin", classes=2, ascent=0.4, kd=0.0)
    assert isinstance(method, AUCMargin)
    logits = torch.tensor([[0.0, 2], [0, 1], [1, 0], [0, 0.5]])
    batch = Batch(pictures(4), torch.tensor([1, 1, 0, 0]))
    for _ in range(40):
        method.distill(View(logits, []), View(logits, []), batch)
        method.after_step()
    h = torch.sigmoid(logits[:, 1] - logits[:, 0])
    assert float(method.dual) == pytest.approx(float(1 + h[2:].mean() - h[:2].mean()), rel=1e-5)
    method.slope.fill_(-100.0)
    method.after_step()
    assert float(method.dual) == 0.0


def test_a_batch_of_one_class_or_without_labels_leaves_the_missing_terms_out() -> None:
    h, ones = torch.tensor([0.2, 0.6]), torch.ones(2)
    half = torch.tensor(0.5)
    assert float(auc_margin(h, ones, 0 * ones, half, half, half, 1.0)) == pytest.approx((0.09 + 0.01) / 2)
    method = small("auc_margin", classes=2, kd=0.0)
    assert isinstance(method, AUCMargin)
    losses = method(Batch(pictures(4), torch.full((4,), -1)))
    losses["total"].backward()
    assert losses["total"].item() == 0.0
    assert float(method.slope) == 0.0
    assert all(torch.isfinite(p.grad).all() for p in method.student.parameters() if p.grad is not None)


def test_soft_labels_weigh_and_missing_ones_do_not_count() -> None:
    target = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    positive, negative = weights(Batch(pictures(2), torch.tensor([0, 0]), target=target))
    assert (positive.tolist(), negative.tolist()) == ([0.75, 0.0], [0.25, 1.0])
    positive, negative = weights(Batch(pictures(3), torch.tensor([1, -1, 0])))
    assert (positive.tolist(), negative.tolist()) == ([1, 0, 0], [0, 0, 1])


def test_it_takes_the_place_of_the_task_and_kd_is_joined_by_its_weight() -> None:
    batch = Batch(pictures(6), torch.tensor([0, 1, 0, 1, 1, 0]))
    totals = []
    for kd in (0.0, 0.5):
        method = small("auc_margin", classes=2, kd=kd, temperature=2.0).eval()
        with torch.no_grad():
            losses, own, other = method(batch), method.student(batch.x), method.teacher_model(batch.x)
        torch.testing.assert_close(losses["total"], losses["distill"])
        totals.append(float(losses["total"]))
    p, q = F.softmax(own.double() / 2, 1), F.softmax(other.double() / 2, 1)
    assert totals[1] - totals[0] == pytest.approx(0.5 * 4 * float((q * (q / p).log()).sum(1).mean()), rel=1e-4)


def test_three_classes_and_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="auc_margin supports binary tasks, not multi-class"):
        small("auc_margin", classes=3)
    for options in ({"margin": 0.0}, {"margin": 1.5}, {"ascent": 1.0}, {"kd": -1.0}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match=rf"^distill\.{next(iter(options))} is .*; a number"):
            small("auc_margin", classes=2, **options)
