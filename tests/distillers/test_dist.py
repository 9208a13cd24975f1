"""DIST against numpy's correlation, and what its relations do not see."""

import numpy as np
import pytest
import torch

from kdlight.distillers import Batch, View
from kdlight.distillers.dist import pearson_distance
from tests.distillers.small import small


def test_it_is_one_minus_the_correlation_of_rows_and_of_columns() -> None:
    own, other = torch.randn(6, 4), torch.randn(6, 4) * 2
    p, q = (torch.softmax(z / 2, 1).double().numpy() for z in (own, other))
    between = np.mean([1 - np.corrcoef(p[i], q[i])[0, 1] for i in range(6)])
    within = np.mean([1 - np.corrcoef(p[:, k], q[:, k])[0, 1] for k in range(4)])
    method = small("dist", classes=4, beta=2.0, gamma=3.0, temperature=2.0)
    found = method.distill(View(own, []), View(other, []), Batch(own, torch.zeros(6).long()))
    assert found.item() == pytest.approx(4 * (2 * between + 3 * within), rel=1e-4)


def test_a_relation_does_not_change_when_either_side_is_shifted_or_scaled() -> None:
    own, other = torch.randn(6, 4), torch.randn(6, 4)
    moved = pearson_distance(3 * own + torch.randn(6, 1), 0.1 * other - 5)
    torch.testing.assert_close(moved, pearson_distance(own, other), atol=1e-5, rtol=1e-4)
    assert pearson_distance(own, 2 * own + 1).item() == pytest.approx(0, abs=1e-6)
    assert pearson_distance(own, -own).item() == pytest.approx(2, abs=1e-6)


def test_two_classes_are_refused_since_their_rows_have_nothing_to_teach() -> None:
    own = torch.randn(6, 2, requires_grad=True)
    pearson_distance(own.softmax(1), torch.randn(6, 2).softmax(1)).backward()
    assert own.grad is not None
    assert own.grad.abs().max() < 1e-5
    with pytest.raises(ValueError, match="dist supports multi-class tasks, not binary"):
        small("dist", classes=2)
