"""The contrast of CRD against loops over a tiny bank, and what the bank keeps."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.distillers import Batch, View
from kdlight.distillers.crd import CRD, nce, negatives
from kdlight.distillers.memory import EmbeddingMemory
from tests.distillers.small import pictures, small


def rows(count: int, width: int = 4) -> Tensor:
    return F.normalize(torch.randn(count, width), dim=1)


def crd(**options: float) -> CRD:
    method = small("crd", bank=8, width=4, **options)
    assert isinstance(method, CRD)
    return method.eval()


def embedded(head: nn.Linear, maps: Tensor) -> Tensor:
    """Pooled, centered over the batch, scaled as a whole, projected, brought to unit length."""
    centered = maps.mean((2, 3)) - maps.mean((0, 2, 3))
    projected = centered / centered.square().mean().sqrt() @ head.weight.T + head.bias
    return (projected / projected.norm(dim=1, keepdim=True)).detach()


def by_hand(anchor: Tensor, partner: Tensor, others: list[Tensor], tau: float, scale: float) -> float:
    """-log h(a p) - sum log(1 - h(a n)), h = e / (e + N c)."""
    rest = len(others) * scale
    found = math.exp(float(anchor @ partner) / tau)
    loss = -math.log(found / (found + rest))
    for other in others:
        wrong = math.exp(float(anchor @ other) / tau)
        loss -= math.log(1 - wrong / (wrong + rest))
    return loss


def test_it_is_noise_contrastive_estimation_over_the_bank() -> None:
    method, y, index = crd(beta=2.0, tau=0.5), torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2])
    logits, own, other = torch.randn(3, 3), torch.randn(3, 5, 1, 1), torch.randn(3, 7, 2, 2)
    found = method.distill(View(logits, [own]), View(logits, [other]), Batch(own, y, index=index)).item()
    a, b = embedded(method.student_head, own), embedded(method.teacher_head, other)
    apart = {0: (1, 2), 1: (0,), 2: (0,)}  # images of another class
    expected = 0.0
    for anchors, partners in ((a, b), (b, a)):
        pairs = [math.exp(float(anchors[i] @ partners[n]) / 0.5) for i, others in apart.items() for n in others]
        scale = sum(pairs) / len(pairs)
        losses = [by_hand(anchors[i], partners[i], [partners[n] for n in apart[i]], 0.5, scale) for i in range(3)]
        expected += 2 * sum(losses) / 3
    assert found == pytest.approx(expected, rel=1e-4)


def test_an_anchor_with_nothing_to_be_told_from_only_seeks_its_partner() -> None:
    similar, none = torch.tensor([0.7]), torch.zeros(1, 3).bool()
    found = nce(similar, torch.randn(1, 3), none, torch.tensor(2.0)).item()
    assert found == pytest.approx(-math.log(math.exp(0.7) / (math.exp(0.7) + 2)))


def test_the_bank_moves_by_half_where_an_image_was_kept_and_is_taken_over_where_another_was() -> None:
    bank, first, second = EmbeddingMemory(4, 3), rows(2, 3), rows(2, 3)
    bank.write(torch.tensor([0, 1]), torch.tensor([5, 6]), first, -first, 0.5)
    bank.write(torch.tensor([0, 5]), torch.tensor([5, 7]), second, -second, 0.5)  # 5 shares the row of 1
    torch.testing.assert_close(bank.student[0], F.normalize(0.5 * first[0] + 0.5 * second[0], dim=0))
    torch.testing.assert_close(bank.student[1], second[1])
    torch.testing.assert_close(bank.teacher, -bank.student)
    assert bank.image.tolist() == [0, 5, -1, -1]
    assert bank.label.tolist() == [5, 7, -1, -1]


def test_two_images_of_a_batch_in_one_row_leave_one_of_them_whole() -> None:
    bank, new = EmbeddingMemory(4, 3), rows(3, 3)
    bank.write(torch.tensor([1, 5, 9]), torch.tensor([0, 1, 2]), new, -new, 0.5)
    winner = int(bank.label[1])
    assert int(bank.image[1]) == 1 + 4 * winner
    torch.testing.assert_close(bank.student[1], new[winner])


def test_negatives_are_other_images_of_other_classes_and_all_others_where_a_label_is_not_known() -> None:
    bank, new = EmbeddingMemory(5, 3), rows(4, 3)
    bank.write(torch.arange(4), torch.tensor([0, 0, 1, -1]), new, new, 0.5)
    found = negatives(bank, torch.tensor([0, 3]), torch.tensor([0, -1])).tolist()
    assert found == [[False, False, True, True, False], [True, True, True, False, False]]


def test_a_restored_checkpoint_goes_on_with_the_same_bank(tmp_path: Path) -> None:
    method, y = crd(), torch.tensor([0, 1, 2, 0])
    batches = [Batch(pictures(4, seed), y, index=torch.arange(4) + 4 * seed) for seed in range(3)]
    for batch in batches[:2]:
        method(batch)
    assert method.scales.min() > 0
    save_file(method.state_dict(), tmp_path / "kept.safetensors")
    again = crd()
    again.load_state_dict(load_file(tmp_path / "kept.safetensors"))
    assert again(batches[2])["total"].item() == method(batches[2])["total"].item()
    fresh = crd()
    fresh.student.load_state_dict(method.student.state_dict())
    assert fresh(batches[2])["total"].item() != method(batches[2])["total"].item()


def test_images_of_unknown_place_count_as_new_ones() -> None:
    method, y = crd(), torch.tensor([0, 1, 2])
    for _ in range(2):
        method(Batch(pictures(3), y))
    assert method.memory.image.tolist() == [0, 1, 2, 3, 4, 5, -1, -1]
