"""ACID against a loop over images in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdlight.distillers import Batch, View
from kdlight.distillers.acid import ACID, learnability
from tests.distillers.small import pictures, small


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum())


def test_an_image_is_worth_what_the_student_loses_more_than_the_teacher() -> None:
    rng = np.random.default_rng(0)
    own, other, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 4)), np.array([0, 3, -1, 1, 2, -1])
    expected = []
    for mine, theirs, label in zip(own, other, y, strict=True):
        gap = log_softmax(theirs) - log_softmax(mine)
        expected.append(gap[label] if label >= 0 else (np.exp(log_softmax(theirs)) * gap).sum())
    found = learnability(*(torch.from_numpy(a) for a in (own, other, y)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    assert found[y < 0].min() >= 0  # a divergence


def test_the_share_that_is_worth_most_is_kept_with_all_that_belongs_to_it() -> None:
    method = small("acid", keep=0.25)
    assert isinstance(method, ACID)
    x, y = pictures(20), torch.arange(20) % 3
    kept = method.choose(Batch(x, y, index=torch.arange(100, 120)))
    with torch.no_grad():
        losses = [F.cross_entropy(m.eval()(x), y, reduction="none") for m in (method.student, method.teacher_model)]
    best = sorted(np.argsort((losses[0] - losses[1]).numpy())[-5:].tolist())
    assert kept.index is not None
    assert (kept.index - 100).tolist() == best
    torch.testing.assert_close(kept.x, x[best])
    assert kept.y.tolist() == y[best].tolist()
    assert kept.teacher is not None
    torch.testing.assert_close(kept.teacher.logits, method.teacher_model(x)[best])


def test_scoring_leaves_the_student_as_it_was() -> None:
    method = small("acid", dropout=0.5)
    assert isinstance(method, ACID)
    method.train()
    method.student.classifier.eval()
    before = {k: v.clone() for k, v in method.student.state_dict().items()}
    state = torch.get_rng_state()
    first, second = method.scoring_logits(pictures(8)), method.scoring_logits(pictures(8))
    torch.testing.assert_close(first, second)  # no dropout
    assert not first.requires_grad
    assert [m.training for m in (method.student.body, method.student.classifier)] == [True, False]
    assert all(torch.equal(v, before[k]) for k, v in method.student.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_a_kept_view_of_the_teacher_is_used_and_two_images_stay_at_least() -> None:
    method = small("acid", keep=0.2)
    logits = torch.zeros(4, 3)
    logits[[1, 3], 0] = 9.0  # the reference is sure of these, and right
    kept = method.choose(Batch(pictures(4), torch.zeros(4, dtype=torch.long), teacher=View(logits, [])))
    assert len(kept.x) == 2
    assert kept.teacher is not None
    assert kept.teacher.logits[:, 0].tolist() == [9.0, 9.0]


def test_the_total_is_the_task_on_the_kept_and_softmax_kd() -> None:
    method = small("acid", keep=0.5, softmax_kd=0.7, temperature=2.0).eval()
    batch = Batch(pictures(8), torch.arange(8) % 3)
    kept = method.choose(batch)
    with torch.no_grad():
        losses, own, other = method(batch), method.student(kept.x), method.teacher_model(kept.x)
    p, q = F.softmax(own.double() / 2, 1), F.softmax(other.double() / 2, 1)
    expected = F.cross_entropy(own, kept.y) + 0.7 * 4 * (q * (q / p).log()).sum(1).mean()
    assert float(losses["total"]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("options", [{"keep": 0.0}, {"keep": 1.1}, {"softmax_kd": -1.0}, {"temperature": 0.0}])
def test_values_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"^distill\.{next(iter(options))} is .*; a number"):
        small("acid", **options)
