"""EFCM's two stages: what each one learns from, and what of the student it moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdlight.distillers import Batch
from kdlight.distillers.efcm import EFCM, feature_projection, head_of
from kdlight.models import create_model
from tests.distillers.small import Small, pictures, small

Y = torch.tensor([0, 1, 2, 0, 1, 2])


def step(method: EFCM, progress: float, y: torch.Tensor = Y) -> tuple[dict[str, torch.Tensor], set[str]]:
    """One step of AdamW, with its decay; the losses, and which parts of the method moved."""
    optimizer = torch.optim.AdamW([p for _, p in method.named_parameters()], lr=0.01, weight_decay=0.1)
    before = {k: v.clone() for k, v in method.state_dict().items() if not k.endswith("num_batches_tracked")}
    method.train()
    losses = method(Batch(pictures(6), y, progress))
    optimizer.zero_grad(set_to_none=True)
    losses["total"].backward()
    optimizer.step()
    after = method.state_dict()
    parts = {k.replace("student.", "").split(".")[0] for k, v in before.items() if not torch.equal(after[k], v)}
    return losses, parts


def built(mode: str, **options: float) -> EFCM:
    method = small("efcm", mode=mode, **options)
    assert isinstance(method, EFCM)
    return method


@pytest.mark.parametrize("mode", ["reuse", "retrain", "end_to_end"])
def test_the_first_stage_moves_features_without_a_label(mode: str) -> None:
    results = [step(built(mode), 0.49, y) for y in (Y, (Y + 1) % 3, torch.full((6,), -1))]
    assert all(parts == {"body", "projection"} for _, parts in results)
    totals = [losses["total"].item() for losses, _ in results]
    assert totals[0] == totals[1] == totals[2]


def test_the_first_stage_is_the_smooth_distance_of_projected_features() -> None:
    method = built("retrain").eval()
    with torch.no_grad():
        found = method(Batch(pictures(6), Y, 0.0))["total"].item()
        own = method.student.forward_with_features(pictures(6))[1][-1].mean((2, 3)).numpy()
        other = method.teacher_model.forward_with_features(pictures(6))[1][-1].mean((2, 3)).numpy()
    weight, bias = (p.detach().numpy() for p in method.projection.parameters())
    gap = np.abs(own @ weight.T + bias - other)
    assert found == pytest.approx(np.where(gap < 1, 0.5 * gap**2, gap - 0.5).mean(), rel=1e-5)
    far = feature_projection(torch.tensor([[3.0, 0.5]]), torch.zeros(1, 2))
    assert float(far) == pytest.approx((2.5 + 0.125) / 2)


def test_reuse_takes_the_teachers_head_and_no_label() -> None:
    method = built("reuse", temperature=2.0)
    losses, parts = step(method, 0.5)
    assert parts == {"classifier"}
    again, _ = step(built("reuse", temperature=2.0), 0.5, torch.full((6,), -1))
    assert again["total"].item() == losses["total"].item()
    fresh = built("reuse", temperature=2.0).eval()
    with torch.no_grad():
        p, q = ((m(pictures(6)).double() / 2).softmax(1) for m in (fresh.student, fresh.teacher_model))
    assert losses["total"].item() == pytest.approx(4 * float((q * (q / p).log()).sum(1).mean()), rel=1e-4)


def test_retrain_learns_a_head_from_labels_and_end_to_end_all_of_it() -> None:
    method = built("retrain")
    losses, parts = step(method, 0.5)
    assert parts == {"classifier"}
    fresh = built("retrain").eval()
    with torch.no_grad():
        expected = F.cross_entropy(fresh.student(pictures(6)), Y)
    assert losses["total"].item() == pytest.approx(float(expected), rel=1e-5)
    losses, parts = step(built("end_to_end"), 0.5)
    assert parts == {"body", "classifier"}
    assert losses["total"].item() == losses["task"].item()


def test_a_run_goes_through_both_stages_with_one_optimizer() -> None:
    method = built("retrain")
    trainable = [p for p in method.parameters() if p.requires_grad]
    assert len(trainable) == len(list(method.parameters()))  # the loop collects them once, before the first batch
    step(method, 0.0)
    head = head_of(method.student).weight.clone()
    step(method, 0.3)
    torch.testing.assert_close(head_of(method.student).weight, head)
    body = method.student.body[0].weight.clone()
    _, parts = step(method, 0.6)
    torch.testing.assert_close(method.student.body[0].weight, body)
    assert parts == {"classifier"}


def test_the_share_of_the_run_decides_when_the_stage_changes() -> None:
    method = built("end_to_end", stage1=0.25)
    batch = Batch(pictures(2), Y[:2])
    for progress, projecting in ((0.0, True), (0.2499, True), (0.25, False), (0.9, False)):
        method.choose(Batch(batch.x, batch.y, progress))
        assert (method.projecting, method.alpha) == (projecting, float(projecting))
        assert (progress < method.best_epoch_from) == projecting


def test_the_head_is_found_in_every_family_and_missed_aloud() -> None:
    for name in ("kdlight_nano", "timm:resnet10t"):
        model = create_model(name, 5)
        head = head_of(model)
        seen: list[torch.Tensor] = []
        head.register_forward_hook(lambda _module, _inputs, output, seen=seen: seen.append(output))
        with torch.no_grad():
            torch.testing.assert_close(model.eval()(torch.zeros(1, 3, 64, 64)), seen[0])
    other = Small(4)
    other.classifier = nn.Identity()  # type: ignore[assignment]
    with pytest.raises(ValueError, match="ends in a linear layer"):
        head_of(other)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "again"}, "one of reuse, retrain, end_to_end"),
        ({"stage1": 1.0}, "stage1"),
        ({"temperature": 0.0}, "temp"),
    ],
)
def test_what_it_does_not_know_is_refused(options: dict[str, float | str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        small("efcm", **options)
