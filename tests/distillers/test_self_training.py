"""Self-training against a loop over images in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdlight.distillers import Batch
from kdlight.distillers.self_training import confidence, mixed, targets
from tests.distillers.small import pictures, small


def softmax(values: np.ndarray) -> np.ndarray:
    return np.exp(values) / np.exp(values).sum()


def test_an_image_without_a_label_takes_the_teachers_and_one_with_it_a_share() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 3))
    y = [2, -1, 0, -1]
    expected = [softmax(row / 2) for row in logits]
    for i, label in enumerate(y):
        if label >= 0:
            expected[i] = 0.7 * np.eye(3)[label] + 0.3 * expected[i]
    found = targets(torch.tensor(y), torch.from_numpy(logits), trust=0.3, temperature=2.0)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_confidence_is_the_divergence_from_an_even_answer() -> None:
    logits = torch.tensor([[0.0, 0, 0, 0], [1, 2, 3, 4]])
    p = softmax(np.arange(1.0, 5))
    assert float(confidence(logits)) == pytest.approx((p * np.log(p * 4)).sum() / 2, rel=1e-5)
    assert float(confidence(torch.tensor([[200.0, 0]]))) == pytest.approx(math.log(2))


def test_images_and_targets_are_mixed_by_the_same_share_in_the_same_order() -> None:
    method = small("self_training", trust=0.0, mixup=1.0)
    x = torch.eye(4)[:, :, None, None].expand(4, 4, 20, 20)[:, :3].clone()  # channel c of image i is 1 where i == c
    y = torch.tensor([0, 1, 2, 2])
    torch.manual_seed(5)
    batch = method.choose(Batch(x, y))
    assert batch.target is not None
    torch.manual_seed(5)
    share = float(torch.distributions.Beta(1.0, 1.0).sample())
    order = torch.randperm(4)
    for i in range(4):
        expected = share * np.eye(3)[y[i]] + (1 - share) * np.eye(3)[y[order[i]]]
        np.testing.assert_allclose(batch.target[i], expected, rtol=1e-5)
        pixels = share * x[i] + (1 - share) * x[order[i]]
        torch.testing.assert_close(batch.x[i], pixels)
    torch.testing.assert_close(mixed(x, order, torch.tensor(1.0)), x)


def test_the_total_is_the_cross_entropy_of_the_targets_and_the_penalty() -> None:
    method = small("self_training", trust=0.4, temperature=2.0, mixup=0.0, penalty=0.3).eval()
    batch = Batch(pictures(5), torch.tensor([0, -1, 2, -1, 1]))
    with torch.no_grad():
        losses, own, other = method(batch), method.student(batch.x), method.teacher_model(batch.x)
    expected = 0.0
    for i in range(5):
        log_p = F.log_softmax(own[i].double(), 0).numpy()
        q = softmax(other[i].double().numpy() / 2)
        label = int(batch.y[i])
        t = q if label < 0 else 0.6 * np.eye(3)[label] + 0.4 * q
        expected += (-(t * log_p).sum() + 0.3 * (math.log(3) + (np.exp(log_p) * log_p).sum())) / 5
    assert float(losses["total"]) == pytest.approx(expected, rel=1e-5)


def test_with_every_label_and_no_trust_no_mixing_no_penalty_it_is_the_task() -> None:
    method = small("self_training", trust=0.0, mixup=0.0, penalty=0.0).eval()
    batch = Batch(pictures(6), torch.arange(6) % 3)
    with torch.no_grad():
        total = method(batch)["total"]
        assert float(total) == pytest.approx(float(F.cross_entropy(method.student(batch.x), batch.y)), rel=1e-5)


def test_a_batch_without_any_label_teaches_and_the_teacher_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    method = small("self_training")
    asked = []
    ask = method.teacher_model.forward_with_features
    monkeypatch.setattr(method.teacher_model, "forward_with_features", lambda x: (asked.append(len(x)), ask(x))[1])
    losses = method(Batch(pictures(4), torch.full((4,), -1)))
    losses["total"].backward()
    assert asked == [4]
    assert method.student.classifier.weight.grad.abs().sum() > 0


def test_soft_labels_that_are_there_are_kept() -> None:
    method = small("self_training", trust=0.5, temperature=1.0, mixup=0.0)
    given = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.2, 0.8]])
    batch = method.choose(Batch(pictures(2), torch.tensor([0, 2]), target=given))
    assert batch.target is not None
    torch.testing.assert_close(batch.target, 0.5 * given + 0.5 * method.teacher_model(pictures(2)).softmax(1))


@pytest.mark.parametrize("options", [{"trust": 1.1}, {"temperature": 0.0}, {"mixup": -1.0}, {"penalty": -1.0}])
def test_values_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"^distill\.{next(iter(options))} is .*; a number"):
        small("self_training", **options)
